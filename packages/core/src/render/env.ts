import { type Container, isRequired } from '../container.ts'
import { oneLine } from '../log.ts'
import { type GivenParam, listedParams, settingsOf, unlessText } from './settings.ts'

/** Every variable as an env file for `docker run --env-file`: what is set, and the rest commented with its default. */
export function env(container: Container, given: readonly GivenParam[] = []): string {
  const settings = new Map(settingsOf(container, given).map((setting) => [setting.variable, setting]))
  const blocks = listedParams(container).map(({ help, facts, variable }) => {
    const setting = settings.get(variable)
    const line =
      setting === undefined || setting.secret
        ? `#${variable}${facts.secret ? '_FILE' : ''}=${oneLine(facts.default ?? '')}`
        : assignment(variable, setting.value)
    return `# ${oneLine(help)}${isRequired(facts) ? ` Required${unlessText(facts)}.` : ''}\n${line}\n`
  })
  return `# ${container.name}: ${container.summary}\n\n${blocks.join('\n')}`
}

/** An env file knows neither quotes nor escapes. */
const assignment = (variable: string, value: string): string =>
  /[\r\n]/.test(value)
    ? `# An env file cannot hold a line break, set it another way:\n#${variable}=${oneLine(value)}`
    : `${variable}=${value}`
