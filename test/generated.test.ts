import { readFileSync } from 'node:fs'
import { describe, expect } from 'vitest'
import { generatedFiles } from '../scripts/generated-files.ts'
import { line } from './support/contract.ts'
import { inRoot } from './support/workspace.ts'

describe('generated files', async () => {
  for (const [file, text] of await generatedFiles()) {
    line(19, `${file} is what "npm run generate" writes`, () => {
      expect(readFileSync(inRoot(file), 'utf8')).toBe(text)
    })
  }
})
