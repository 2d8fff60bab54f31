import { stat, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { licenseDocument, packageFolder, packageLicense } from './licenses.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

// Some CommonJS packages call `require` at run time, which no ES module has.
const BANNER =
  "import { createRequire as bundleRequire } from 'node:module';const require = bundleRequire(import.meta.url);"

/** A container's program as one file. */
export interface Bundle {
  /** Path of main.js; licenses.txt is beside it. */
  file: string
  bytes: number
  /** The npm packages inside, by folder. */
  packages: string[]
}

/** Bundles `packages/<name>/src/main.ts` into `build/images/<name>/`, the folder that its image gets as /app. */
export async function bundleContainer(name: string): Promise<Bundle> {
  return bundle(join(ROOT, 'packages', name, 'src/main.ts'), join(ROOT, 'build/images', name))
}

/**
 * Bundles a program with everything that it imports into `<directory>/main.js`, and the licences of the npm packages
 * that really are inside into `<directory>/licenses.txt`.
 * @throws Error when something cannot be resolved, or a package has no licence text
 */
export async function bundle(entry: string, directory: string): Promise<Bundle> {
  const file = join(directory, 'main.js')
  const { metafile } = await build({
    entryPoints: [entry],
    outfile: file,
    absWorkingDir: ROOT,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    banner: { js: BANNER },
    alias: { 'iconv-lite': fileURLToPath(new URL('shims/iconv-lite.ts', import.meta.url)) },
    // For stack traces: only white space goes, since the rest would save a thirtieth and take names of functions with
    // it; and lines stay short, because an uncaught error prints the whole line that threw.
    minifyWhitespace: true,
    lineLimit: 160,
    legalComments: 'none',
    metafile: true,
    logLevel: 'silent',
  })
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.entries(output.inputs))
  const contained = inputs
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    .map(([path]) => packageFolder(path))
  const packages = [...new Set(contained)].filter((folder) => folder !== undefined).sort()
  const licenses = await Promise.all(packages.map((folder) => packageLicense(join(ROOT, folder))))
  await writeFile(join(directory, 'licenses.txt'), licenseDocument(licenses))
  return { file: relative(ROOT, file), bytes: (await stat(file)).size, packages }
}
