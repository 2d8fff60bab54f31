import { once } from 'node:events'
import { type Container, version } from '@outrider/core'
import { type Child, startChild } from './child.ts'
import { type ContainerName, containers } from './containers.ts'
import { stopOf } from './stops.ts'
import { type Surroundings, startSurroundings } from './surroundings.ts'

export interface TourOptions {
  /** Flags: `--target <url>` and further ones for the containers. */
  readonly args: readonly string[]
  /** The command that starts the `outrider` program. */
  readonly program: readonly string[]
  /** What that inherits. */
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stop: AbortSignal
  readonly write: (text: string) => void
}

const all = Object.keys(containers) as ContainerName[]
/** The container that flags of the user's are for: the one that serves an application. */
const serving: ContainerName = 'sidecar-https'

/** Shows every container at work, in front of what is here or the user's application; resolves with the exit code. */
export async function tour({ args, program, env, stop, write }: TourOptions): Promise<number> {
  const own = args.length > 0
  const names = own ? [serving] : all
  const children: Child[] = []
  let around: Surroundings | undefined
  const stopped = stop.aborted ? Promise.resolve(undefined) : once(stop, 'abort').then(() => undefined)
  try {
    write(
      `Outrider ${version}: ${names.length} container${names.length === 1 ? '' : 's'} as processes of this machine\n\n`,
    )
    if (!own) {
      around = await startSurroundings()
      for (const { name, where, what } of around.parts)
        write(`  ${name.padEnd(20)} ${where}\n${' '.repeat(23)}${what}\n\n`)
    }
    let answered = 0
    let skipped = 0
    for (const name of names) {
      const { default: container } = await containers[name]()
      const { flags, variables, lacks } = stopOf(container)
      const missing = around && lacks?.(around)
      if (missing !== undefined) {
        write(`  ${name.padEnd(20)} skipped: ${missing}\n\n`)
        skipped += 1
        continue
      }
      const given = around === undefined ? args : flags(around)
      const environment = { ...env, ...(around && variables?.(around)) }
      const starting = startChild(program, [name, ...withFreeAdmin(given)], environment)
      const child = await Promise.race([starting, stopped])
      if (child === undefined) return 1
      children.push(child)
      answered += await show(container, child, around, write)
    }
    if (own && answered === 0) write(`  It stays up and serves the application as soon as that answers.\n\n`)
    write(`${answered} of ${names.length - skipped} answered. Ctrl-C drains and ends.\n`)
    // Somebody who puts a container in front of an application may start that one afterwards.
    if (answered < names.length - skipped && !own) return 1
    await Promise.race([stopped, ...children.map(({ ended }) => ended)])
    if (!stop.aborted)
      write(`\nA container has ended by itself:\n${children.map(({ words }) => words()).join('\n')}`)
    return await drain(children, write)
  } catch (error) {
    write(`\n${(error as Error).message}\n`)
    return 1
  } finally {
    for (const child of children) child.kill()
    await around?.[Symbol.asyncDispose]()
  }
}

/** The tour never fails for an admin port that another container or tour has. */
const withFreeAdmin = (flags: readonly string[]): string[] =>
  flags.some((flag) => /^--admin(=|$)/.test(flag)) ? [...flags] : [...flags, '--admin', '127.0.0.1:0']

async function show(
  container: Container,
  child: Child,
  around: Surroundings | undefined,
  write: TourOptions['write'],
): Promise<0 | 1> {
  const { name, summary } = container
  const stop = stopOf(container)
  const url = stop.url(child.addresses)
  const line = (left: string, right: string) => write(`  ${left.padEnd(20)} ${right}\n`)
  line(name, url.href)
  line('', summary)
  const seen = await stop.visit(url, child.addresses, around).then(
    (text) => ({ ok: true, text }),
    (error: Error) => ({ ok: false, text: error.message }),
  )
  line(seen.ok ? '  checked' : '  FAILED', seen.text)
  line('  its page', `http://${child.addresses['admin']}/`)
  line('  try', stop.tryIt(url, around))
  if (around !== undefined) line('  your application', stop.yours)
  write('\n')
  return seen.ok ? 1 : 0
}

async function drain(children: readonly Child[], write: TourOptions['write']): Promise<number> {
  write(
    '\nDraining, until every request is answered or the deadline has come; Ctrl-C again ends at once ...\n',
  )
  for (const child of children) child.drain()
  const codes = await Promise.all(children.map(({ ended }) => ended))
  const failed = codes.filter((code) => code !== 0).length
  write(failed === 0 ? 'Drained: every request was answered.\n' : `${failed} cut off at the deadline.\n`)
  return failed === 0 ? 0 : 1
}
