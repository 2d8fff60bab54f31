import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { generatedFiles } from './generated-files.ts'
import { inRoot } from './workspace.ts'

/** `npm run generate`: writes every file that is rendered from the definitions. */
let changed = 0
for (const [file, text] of await generatedFiles()) {
  const path = inRoot(file)
  if (read(path) === text) continue
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  console.log(`wrote ${file}`)
  changed++
}
console.log(changed === 0 ? 'everything was up to date' : `${changed} written`)

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
