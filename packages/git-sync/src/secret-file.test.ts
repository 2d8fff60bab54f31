import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { readSecretFile } from './secret-file.ts'

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'secret-file-'))
  onTestFinished(() => rmSync(path, { recursive: true }))
  return path
}

function fileOf(content: string | Uint8Array): string {
  const path = join(directory(), 'secret')
  writeFileSync(path, content)
  return path
}

test.each([
  ['hunter2', 'hunter2'],
  ['hunter2\n', 'hunter2'],
  ['hunter2\r\n', 'hunter2'],
  ['hunter2\n\n', 'hunter2\n'],
  [' hünter2 ', ' hünter2 '],
  ['a\nb\n', 'a\nb'],
])('of %j it is %j: only the last line break is none of it', async (content, text) => {
  expect(await readSecretFile(fileOf(content))).toBe(text)
})

test('a secret that Kubernetes has mounted is read through its links', async () => {
  const path = fileOf('hunter2')
  symlinkSync(path, `${path}-link`)
  expect(await readSecretFile(`${path}-link`)).toBe('hunter2')
})

test('64 KiB are read', async () => {
  expect(await readSecretFile(fileOf('x'.repeat(65_536)))).toHaveLength(65_536)
})

test('more than 64 KiB are refused', async () => {
  await expect(readSecretFile(fileOf('x'.repeat(65_537)))).rejects.toThrow('is larger than 64 KiB')
})

test.each(['', '\n', '\r\n'])('a file of %j is empty', async (content) => {
  const path = fileOf(content)
  await expect(readSecretFile(path)).rejects.toThrow(`${path} is empty`)
})

test('bytes that are no UTF-8 are refused, and not shown', async () => {
  const path = fileOf(Uint8Array.of(0x68, 0x75, 0xff))
  await expect(readSecretFile(path)).rejects.toThrow(`${path} is not UTF-8`)
})

test('a file that is not there is named, with the reason', async () => {
  await expect(readSecretFile('/nowhere/token')).rejects.toThrow('/nowhere/token cannot be read: ENOENT')
})

test('a directory is no file', async () => {
  await expect(readSecretFile(directory())).rejects.toThrow('it is no regular file')
})

test('a pipe that nobody writes to holds nothing up', async () => {
  const path = join(directory(), 'pipe')
  execFileSync('mkfifo', [path])
  await expect(readSecretFile(path)).rejects.toThrow('it is no regular file')
})

test('a secret in place of a path is not shown', async () => {
  await expect(readSecretFile('hunter2')).rejects.toThrow(/^(?!.*hunter2)a file whose path .* ENOENT/)
})
