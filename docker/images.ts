import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Container } from '@outrider/core'
import { type BaseName, baseNames } from '@outrider/core/render'
import { containersOfWorkspace } from '../scripts/workspace.ts'
import { bundleContainer } from './bundle.ts'
import { run, type Say, step, succeeds } from './command.ts'
import { DEBIAN_IMAGE, ensureBaseImages, NODE_IMAGE } from './stand-ins.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MIB = 1024 * 1024
/** What an image may add on top of its base, so that the second container of a pod costs almost nothing. */
const MOST_ADDED_BYTES = MIB

/** Sizes as `docker image inspect` counts them, in bytes, by tag. */
export interface ImageSizes {
  bases: { tag: string; size: number }[]
  images: { name: string; tag: string; base: string; added: number }[]
}

/**
 * Builds the images `outrider/<name>`, with all that they stand on; by default those of every container and every base.
 * @throws Error when no engine answers, a name is no container, a build fails, or an image adds more than 1 MiB to its
 * base
 */
export async function buildImages(names?: string[], say: Say = console.log): Promise<ImageSizes> {
  const containers = await chosenContainers(names)
  await requireEngine()
  await ensureBaseImages(say)
  const bases: ImageSizes['bases'] = []
  for (const name of neededBases(names === undefined ? undefined : containers)) {
    const tag = baseTag(name)
    await step(say, tag, () => buildBase(name))
    bases.push({ tag, size: await imageSize(tag) })
  }
  const images: ImageSizes['images'] = []
  for (const { name, base } of containers) {
    const tag = await step(say, `outrider/${name}`, () => buildImage(name, say))
    const added = (await imageSize(tag)) - (await imageSize(baseTag(base)))
    images.push({ name, tag, base: baseTag(base), added })
  }
  for (const line of sizeTable({ bases, images })) say(line)
  const tooLarge = tooLargeImages(images)
  if (tooLarge !== undefined) throw new Error(tooLarge)
  return { bases, images }
}

/** The lines of the table that ends a build: each base, and what its images add to it. */
export function sizeTable({ bases, images }: ImageSizes): string[] {
  const table = bases.flatMap(({ tag, size }) => [
    [tag, `${(size / MIB).toFixed(1)} MiB`],
    ...images
      .filter(({ base }) => base === tag)
      .map((image) => [image.tag, `+${image.added.toLocaleString('en')} bytes`]),
  ])
  const width = Math.max(...table.map(([tag = '']) => tag.length))
  return table.map(([tag = '', size = '']) => `${tag.padEnd(width)}  ${size.padStart(16)}`)
}

/** What to tell about images that add more to their base than they may, or undefined when none does. */
export function tooLargeImages(images: ImageSizes['images']): string | undefined {
  const tooLarge = images.filter(({ added }) => added > MOST_ADDED_BYTES)
  if (tooLarge.length === 0) return undefined
  const list = tooLarge.map(({ tag, base, added }) => `${tag} (${added} bytes on ${base})`).join(', ')
  return `more than ${MOST_ADDED_BYTES} bytes on top of the base: ${list}; find what its bundle need not import`
}

async function chosenContainers(names?: string[]): Promise<Container[]> {
  const containers = await containersOfWorkspace()
  const known = containers.map(({ name }) => name)
  const unknown = (names ?? []).filter((name) => !known.includes(name))
  if (unknown.length > 0) {
    throw new Error(`no such container: ${unknown.join(', ')}; there are: ${known.join(', ')}`)
  }
  return containers.filter(({ name }) => names?.includes(name) ?? true)
}

/** All of them without containers. */
const neededBases = (containers?: readonly Container[]): BaseName[] =>
  baseNames.filter((name) => name === 'base' || (containers?.some(({ base }) => base === name) ?? true))

const baseTag = (name: BaseName): string => `outrider/${name}:latest`

async function requireEngine(): Promise<void> {
  if (await succeeds('docker', ['version'])) return
  throw new Error('no Docker engine answers; run: docker/engine.sh ensure')
}

async function buildBase(name: BaseName): Promise<void> {
  const args =
    name === 'base'
      ? { DEBIAN_IMAGE, NODE_IMAGE, NODE_VERSION: await nodeVersion() }
      : { DEBIAN_IMAGE, BASE_IMAGE: baseTag('base') }
  const buildArgs = Object.entries(args).flatMap(([key, value]) => ['--build-arg', `${key}=${value}`])
  const dockerfile = await readFile(here(`${name}.Dockerfile`), 'utf8')
  await run('docker', ['build', '--tag', baseTag(name), ...buildArgs, '-'], dockerfile)
}

async function nodeVersion(): Promise<string> {
  const environment = await inspect(NODE_IMAGE, '{{json .Config.Env}}')
  return /"NODE_VERSION=([^"]+)"/.exec(environment)?.[1] ?? 'unknown'
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
