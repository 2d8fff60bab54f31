import { existsSync } from 'node:fs'
import { run } from '../../docker/command.ts'
import { inRoot } from '../../scripts/workspace.ts'
import type { Peer } from '../peers/subject.ts'
import { programPath } from './processes.ts'

/** A Debian package, and the program of it that is used. */
export interface DebianProgram {
  readonly name: string
  readonly program: string
}

/** Installs what is missing by apt-get, as root alone. */
export async function installPrograms(programs: readonly DebianProgram[]): Promise<void> {
  const missing = programs.filter(({ program }) => programPath(program) === undefined)
  const names = [...new Set(missing.map(({ name }) => name))]
  if (names.length === 0) return
  if (process.getuid?.() !== 0 || programPath('apt-get') === undefined) {
    console.log(`missing: ${names.join(' ')}; as root on Debian they would be installed`)
    return
  }
  console.log(`apt-get install ${names.join(' ')} ...`)
  // Run level 1: the servers are not to be started by their packages.
  const apt = ['DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1', 'apt-get', '-qq']
  try {
    await run('env', [...apt, 'update'])
    await run('env', [...apt, 'install', '--yes', '--no-install-recommends', ...names])
  } catch (error) {
    console.log(`not installed: ${error}`)
  }
}

/** What a subject lacks on this machine. */
export function lackOf({ debian, npm }: Peer): string | undefined {
  if (debian !== undefined && programPath(debian.program) === undefined) {
    return `missing: Debian package ${debian.name}`
  }
  if (npm !== undefined && !existsSync(inRoot('node_modules', npm))) return `missing: npm package ${npm}`
  return undefined
}

/** `nginx 1.22.1`, of what Debian has installed. */
export async function versionOf({ name, program }: DebianProgram): Promise<string> {
  const version = await run('dpkg-query', ['--show', `--showformat=\${Version}`, name]).catch(() => '')
  return `${program} ${/^(?:\d+:)?([\d.]+)/.exec(version)?.[1] ?? ''}`.trim()
}
