import { arch, getuid } from 'node:process'
import { fileURLToPath } from 'node:url'
import { machineMirrors } from './apt.ts'
import { run, type Say, start, step, succeeds } from './command.ts'

export const DEBIAN_IMAGE = 'debian:bookworm-slim'
export const NODE_IMAGE = 'node:24-bookworm-slim'

const DEBIAN_RELEASE = 'bookworm'
const REGISTRY_DEADLINE_MS = 5000
/** What the slim images leave out, too: manuals and translations, but not the licences. */
const LEFT_OUT = ['/usr/share/man/*', '/usr/share/info/*', '/usr/share/locale/*', '/usr/share/doc/*']

/**
 * Makes the public base images present: those that are there stay, others are pulled, and where no registry answers
 * within five seconds they are made from Debian's packages and the Node of this repository, under the same tags and
 * with the label `io.outrider.stand-in=true`.
 * @throws Error with what this machine lacks to make a stand-in
 */
export async function ensureBaseImages(say: Say): Promise<void> {
  let registry = true
  for (const { tag, make } of [
    { tag: DEBIAN_IMAGE, make: makeDebian },
    { tag: NODE_IMAGE, make: makeNode },
  ]) {
    if (await succeeds('docker', ['image', 'inspect', tag])) continue
    registry &&= await pull(tag, say)
    if (!registry) await step(say, `${tag}: making a stand-in`, () => make(say))
  }
}

/** Whether the image could be pulled. Once a registry has answered, the download may take as long as it needs. */
async function pull(tag: string, say: Say): Promise<boolean> {
  say(`${tag}: asking the registry ...`)
  const pulling = start('docker', ['pull', tag])
  const timer = setTimeout(() => {
    say(`${tag}: no registry answered within ${REGISTRY_DEADLINE_MS / 1000} s`)
    pulling.stop()
  }, REGISTRY_DEADLINE_MS)
  // docker prints nothing before it has the manifest, so the first line is the registry's answer.
  pulling.stdout.on('data', (lines: Buffer) => {
    clearTimeout(timer)
    for (const line of lines.toString().trimEnd().split('\n')) say(`${tag}: ${line}`)
  })
  try {
    await pulling.done
    return true
  } catch (error) {
    say(`${tag}: not pulled: ${error instanceof Error ? error.message : error}`)
    return false
  } finally {
    clearTimeout(timer)
  }
}

async function makeDebian(say: Say): Promise<void> {
  await ensureMmdebstrap(say)
  const { sources, settings } = await machineMirrors(DEBIAN_RELEASE)
  const bootstrap = start('mmdebstrap', [
    '--variant=apt',
    ...LEFT_OUT.map((path) => `--dpkgopt=path-exclude=${path}`),
    '--dpkgopt=path-include=/usr/share/doc/*/copyright',
    ...settings.map((setting) => `--aptopt=${setting}`),
    ...(sources.some((line) => line.includes('https:')) ? ['--include=ca-certificates'] : []),
    DEBIAN_RELEASE,
    '-',
    ...sources,
  ])
  const changes = ['LABEL io.outrider.stand-in=true', 'CMD ["bash"]'].flatMap((line) => ['--change', line])
  const imported = run('docker', ['import', ...changes, '-'], bootstrap.stdout)
  const [complete, image] = await Promise.allSettled([bootstrap.done, imported])
  // A bootstrap that broke off may still look like an archive to docker: only a complete one gets the tag.
  if (complete.status === 'rejected') {
    if (image.status === 'fulfilled') await run('docker', ['image', 'rm', image.value])
    throw complete.reason
  }
  if (image.status === 'rejected') throw image.reason
  await run('docker', ['tag', image.value, DEBIAN_IMAGE])
}

async function ensureMmdebstrap(say: Say): Promise<void> {
  if (await succeeds('mmdebstrap', ['--version'])) return
  if (getuid?.() !== 0 || !(await succeeds('apt-get', ['--version']))) {
    throw new Error(
      `no registry answers, and mmdebstrap is missing to make ${DEBIAN_IMAGE} from Debian's packages: ` +
        `install mmdebstrap, or get ${DEBIAN_IMAGE} and ${NODE_IMAGE} by docker pull or docker load`,
    )
  }
  await step(say, 'apt-get install mmdebstrap', async () => {
    await run('apt-get', ['update'])
    await run('apt-get', ['install', '--yes', '--no-install-recommends', 'mmdebstrap'])
  })
}

async function makeNode(): Promise<void> {
  const name = `node-linux-${arch}`
  const directory = fileURLToPath(new URL(`../node_modules/${name}`, import.meta.url))
  const version = await run(`${directory}/bin/node`, ['--version']).catch((error: unknown) => {
    throw new Error(`${NODE_IMAGE} cannot be made without the npm package ${name}: run npm ci`, {
      cause: error,
    })
  })
  const dockerfile = 'stand-in-node.Dockerfile'
  const here = fileURLToPath(new URL('.', import.meta.url))
  // Sent as an archive, because the package holds 67 MB of headers that no image needs.
  const context = start('tar', ['--create', '-C', here, dockerfile, '-C', directory, 'LICENSE', 'bin/node'])
  const build = ['build', '--file', dockerfile, '--tag', NODE_IMAGE]
  const args = [
    '--build-arg',
    `DEBIAN_IMAGE=${DEBIAN_IMAGE}`,
    '--build-arg',
    `NODE_VERSION=${version.slice(1)}`,
  ]
  await Promise.all([context.done, run('docker', [...build, ...args, '-'], context.stdout)])
}
