import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { containerNames } from '../scripts/workspace.ts'
import { bundleContainer } from './bundle.ts'
import { run, type Say, step, succeeds } from './command.ts'
import { DEBIAN_IMAGE, ensureBaseImages, NODE_IMAGE } from './stand-ins.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const BASE = 'outrider/base:latest'
const MIB = 1024 * 1024
/** What an image may add on top of the base, so that the second container of a pod costs almost nothing. */
const MOST_ADDED_BYTES = MIB

/** Sizes as `docker image inspect` counts them, in bytes. */
export interface ImageSizes {
  base: number
  images: { name: string; tag: string; added: number }[]
}

/**
 * Builds the images `outrider/<name>`, by default of every container, with all that they stand on.
 * @throws Error when no engine answers, a name is no container, a build fails, or an image adds more than 1 MiB to the
 * base
 */
export async function buildImages(names?: string[], say: Say = console.log): Promise<ImageSizes> {
  const containers = chosenContainers(names)
  await requireEngine()
  await ensureBaseImages(say)
  await step(say, BASE, buildBase)
  const base = await imageSize(BASE)
  const images: ImageSizes['images'] = []
  for (const name of containers) {
    const tag = await step(say, `outrider/${name}`, () => buildImage(name, say))
    images.push({ name, tag, added: (await imageSize(tag)) - base })
  }
  for (const line of sizeTable({ base, images })) say(line)
  const tooLarge = tooLargeImages(images)
  if (tooLarge !== undefined) throw new Error(tooLarge)
  return { base, images }
}

/** The lines of the table that ends a build. */
export function sizeTable({ base, images }: ImageSizes): string[] {
  const rows = images.map(({ tag, added }) => [tag, `+${added.toLocaleString('en')} bytes`])
  const table = [[BASE, `${(base / MIB).toFixed(1)} MiB`], ...rows]
  const width = Math.max(...table.map(([tag = '']) => tag.length))
  return table.map(([tag = '', size = '']) => `${tag.padEnd(width)}  ${size.padStart(16)}`)
}

/** What to tell about images that add more to the base than they may, or undefined when none does. */
export function tooLargeImages(images: ImageSizes['images']): string | undefined {
  const tooLarge = images.filter(({ added }) => added > MOST_ADDED_BYTES)
  if (tooLarge.length === 0) return undefined
  const list = tooLarge.map(({ tag, added }) => `${tag} (${added} bytes)`).join(', ')
  return `more than ${MOST_ADDED_BYTES} bytes on top of ${BASE}: ${list}; find what its bundle need not import`
}

function chosenContainers(names?: string[]): string[] {
  const containers = containerNames()
  const unknown = (names ?? []).filter((name) => !containers.includes(name))
  if (unknown.length > 0) {
    throw new Error(`no such container: ${unknown.join(', ')}; there are: ${containers.join(', ')}`)
  }
  return names ?? containers
}

async function requireEngine(): Promise<void> {
  if (await succeeds('docker', ['version'])) return
  throw new Error('no Docker engine answers; run: docker/engine.sh ensure')
}

async function buildBase(): Promise<void> {
  const environment = await inspect(NODE_IMAGE, '{{json .Config.Env}}')
  const version = /"NODE_VERSION=([^"]+)"/.exec(environment)?.[1] ?? 'unknown'
  const args = { DEBIAN_IMAGE, NODE_IMAGE, NODE_VERSION: version }
  const buildArgs = Object.entries(args).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`])
  const dockerfile = await readFile(here('base.Dockerfile'), 'utf8')
  await run('docker', ['build', '--tag', BASE, ...buildArgs, '-'], dockerfile)
}

/** Gives the tag with the version. */
async function buildImage(name: string, say: Say): Promise<string> {
  const dockerfile = here(`${name}.Dockerfile`)
  if (!existsSync(dockerfile)) throw new Error(`docker/${name}.Dockerfile is missing; run: npm run generate`)
  const { bytes, packages } = await bundleContainer(name)
  say(`outrider/${name}: a bundle of ${(bytes / 1024).toFixed(0)} KiB with ${packages.length} npm packages`)
  const manifest = await readFile(join(ROOT, 'packages', name, 'package.json'), 'utf8')
  const { version }: Record<string, unknown> = JSON.parse(manifest)
  const tag = `outrider/${name}:${version}`
  const tags = [`outrider/${name}:latest`, tag].flatMap((each) => ['--tag', each])
  await run('docker', ['build', '--file', dockerfile, ...tags, join(ROOT, 'build/images')])
  return tag
}

async function imageSize(tag: string): Promise<number> {
  return Number(await inspect(tag, '{{.Size}}'))
}

async function inspect(tag: string, format: string): Promise<string> {
  return run('docker', ['image', 'inspect', '--format', format, tag])
}

function here(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url))
}

if (import.meta.main) {
  const names = process.argv.slice(2)
  await buildImages(names.length > 0 ? names : undefined).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  })
}
