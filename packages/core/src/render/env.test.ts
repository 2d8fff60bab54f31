import { describe, expect, it } from 'vitest'
import { aged, sample } from '../test-support.ts'
import { env } from './env.ts'

const flag = (name: string, shown: string) => ({ name, shown, source: 'flag' })

/** What `docker run --env-file` makes of it: no quotes, no escapes. */
const read = (file: string): Record<string, string> =>
  Object.fromEntries(
    file
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )

it('is the env file that is committed', async () => {
  await expect(env(sample)).toMatchFileSnapshot('snapshots/sample.env')
})

describe('the env file', () => {
  it('sets what is required, and nothing else', () => {
    expect(read(env(sample))).toEqual({
      ADAPTER_SAMPLE_TARGET: 'http://127.0.0.1:8080',
      ADAPTER_SAMPLE_NOTE: `it's $5 & $(X): "yes" #1`,
    })
  })

  it('sets what was given, without quotes', () => {
    expect(read(env(sample, [flag('greeting', 'a "b" #c')]))).toMatchObject({
      ADAPTER_SAMPLE_GREETING: 'a "b" #c',
    })
  })

  it('names every other variable with its default', () => {
    expect(env(sample)).toContain('\n#ADAPTER_SAMPLE_WAIT=5s\n')
  })

  it('names a secret by its file, and never shows it', () => {
    const file = env(sample, [flag('token', '[redacted]')])
    expect(file).toContain('\n#ADAPTER_SAMPLE_TOKEN_FILE=\n')
    expect(file).not.toContain('[redacted]')
  })

  it('names the file of a secret once, where that is a parameter', () => {
    expect(env(aged).match(/^#AGED_BOX_PASSWORD.*$/gm)).toEqual(['#AGED_BOX_PASSWORD_FILE='])
  })

  it('does not take the second line of a value for a variable', () => {
    const file = env(sample, [flag('note', 'one\nADAPTER_SAMPLE_MODE=fast')])
    expect(read(file)).not.toHaveProperty('ADAPTER_SAMPLE_MODE')
    expect(file).toContain('# An env file cannot hold a line break, set it another way:\n')
  })
})
