import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * The folder of the npm package that a bundled file belongs to (`node_modules/@scope/name`), or undefined for a file of
 * this repository.
 */
export function packageFolder(file: string): string | undefined {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0]
}

/** One document out of the licences of packages, in which packages with the very same text share it. */
export function licenseDocument(licenses: { title: string; text: string }[]): string {
  const titlesByText = Map.groupBy(licenses, ({ text }) => text.replaceAll('\r\n', '\n').trim())
  const sections = [...titlesByText].map(([text, same]) => {
    const titles = same.map(({ title }) => title).sort()
    return `${titles.join('\n')}\n\n${text}\n`
  })
  return sections.sort().join(`\n${'-'.repeat(80)}\n\n`)
}

/**
 * The name and version of the package in a folder, and its licence with the notice that belongs to it.
 * @throws Error when the package comes without a licence text, so that none is shipped unnoticed
 */
export async function packageLicense(folder: string): Promise<{ title: string; text: string }> {
  const manifest: Record<string, unknown> = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  const { name, version, license } = manifest
  const title = `${name} ${version} (${license})`
  const files = (await readdir(folder))
    .filter((file) => /^(un)?licen[cs]e|^copying|^notice/i.test(file))
    .sort()
  if (files.length === 0)
    throw new Error(`${title} has no licence file in ${folder}, so no image may contain it`)
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')))
  return { title, text: texts.join('\n') }
}
