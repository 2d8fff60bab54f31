import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundle } from '../../docker/bundle.ts'
import { inRoot } from '../../scripts/workspace.ts'
import { type Command, temporaryDirectory } from './processes.ts'

const bundled = new Map<string, Promise<string>>()

/** A container's program as its image runs it. Under a profiler its sources, so that the profile names their lines. */
export async function containerCommand(
  name: string,
  nodeArgs: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Command> {
  const sources = inRoot('packages', name, 'src/main.ts')
  const main = nodeArgs.length > 0 ? sources : await bundledOnce(name, sources)
  return {
    program: process.execPath,
    args: ['--max-semi-space-size=2', '--v8-pool-size=1', ...nodeArgs, main],
    env,
  }
}

function bundledOnce(name: string, sources: string): Promise<string> {
  const file = bundled.get(name) ?? bundledFile(name, sources)
  bundled.set(name, file)
  return file
}

async function bundledFile(name: string, sources: string): Promise<string> {
  const directory = temporaryDirectory()
  try {
    await bundle(sources, directory)
  } catch (error) {
    console.log(`the sources of ${name} run, since they do not bundle: ${error}`)
    return sources
  }
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }')
  const file = join(directory, 'main.js')
  if (!existsSync(file)) throw new Error(`the bundle of ${name} is not at ${file}`)
  return file
}
