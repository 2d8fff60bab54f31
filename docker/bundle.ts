import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { licenseDocument, packageFolder, packageLicense } from './licenses.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

// Some CommonJS packages call `require` at run time, which no ES module has.
const BANNER =
  "import { createRequire as bundleRequire } from 'node:module';const require = bundleRequire(import.meta.url);"

/** A container's program as one file, and another one of what its threads run. */
export interface Bundle {
  /** Path of main.js; beside it are licenses.txt, worker.js if there is one, and what both share. */
  file: string
  /** Of the programs together. */
  bytes: number
  /** The npm packages inside, by folder. */
  packages: string[]
}

/** Bundles `packages/<name>/src/main.ts` into `build/images/<name>/`, the folder that its image gets as /app. */
export async function bundleContainer(name: string): Promise<Bundle> {
  return bundle(join(ROOT, 'packages', name, 'src/main.ts'), join(ROOT, 'build/images', name))
}

/** CommonJS packages require the whole of it, which loads no more than that. */
const ourHttp: Plugin = {
  name: 'our-http',
  setup({ onResolve }) {
    const path = fileURLToPath(new URL('shims/http.ts', import.meta.url))
    onResolve({ filter: /^node:http$/ }, ({ kind }) => (kind === 'require-call' ? undefined : { path }))
  },
}

/**
 * Bundles a program with everything that it imports into `<directory>/main.js`, a `worker.ts` beside it likewise into
 * `<directory>/worker.js`, and the licences of the npm packages that really are inside into `<directory>/licenses.txt`.
 * @throws Error when something cannot be resolved, or a package has no licence text
 */
export async function bundle(entry: string, directory: string): Promise<Bundle> {
  const worker = join(dirname(entry), 'worker.ts')
  await rm(directory, { recursive: true, force: true })
  const { metafile } = await build({
    entryPoints: { main: entry, ...(existsSync(worker) && { worker }) },
    outdir: directory,
    // What both need is there once.
    splitting: true,
    chunkNames: 'shared-[hash]',
    absWorkingDir: ROOT,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    banner: { js: BANNER },
    // Tables of which a container uses a few lines.
    alias: {
      'iconv-lite': fileURLToPath(new URL('shims/iconv-lite.ts', import.meta.url)),
      'mime-db': fileURLToPath(new URL('shims/mime-db.json', import.meta.url)),
      // Of the metrics client's push gateway, which nobody uses: loading it costs two megabytes.
      https: fileURLToPath(new URL('shims/nothing.json', import.meta.url)),
    },
    // For stack traces: only white space goes, since the rest would save a thirtieth and take names of functions with
    // it; and lines stay short, because an uncaught error prints the whole line that threw.
    minifyWhitespace: true,
    plugins: [ourHttp],
    lineLimit: 160,
    legalComments: 'none',
    metafile: true,
    logLevel: 'silent',
  })
  const outputs = Object.values(metafile.outputs)
  const inputs = outputs.flatMap((output) => Object.entries(output.inputs))
  const contained = inputs
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    .map(([path]) => packageFolder(path))
  const packages = [...new Set(contained)].filter((folder) => folder !== undefined).sort()
  const licenses = await Promise.all(packages.map((folder) => packageLicense(join(ROOT, folder))))
  await writeFile(join(directory, 'licenses.txt'), licenseDocument(licenses))
  const bytes = outputs.reduce((sum, output) => sum + output.bytes, 0)
  return { file: relative(ROOT, join(directory, 'main.js')), bytes, packages }
}
