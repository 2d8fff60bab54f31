import { containers } from './containers.ts'

/** One line a container: name, pattern, what it does. */
export async function list(): Promise<string> {
  const loaded = await Promise.all(Object.values(containers).map(async (load) => (await load()).default))
  const width = Math.max(...loaded.map(({ name }) => name.length))
  return loaded
    .map(({ name, pattern, summary }) => `${name.padEnd(width)}  ${pattern.padEnd(10)}  ${summary}\n`)
    .join('')
}
