import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Express } from 'express'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { mirrorSettings, sourcesFor } from '../docker/apt.ts'
import { type Bundle, bundle } from '../docker/bundle.ts'
import { run } from '../docker/command.ts'
import { sizeTable, tooLargeImages } from '../docker/images.ts'
import { licenseDocument, packageFolder, packageLicense } from '../docker/licenses.ts'
import { decode, encodingExists, getDecoder } from '../docker/shims/iconv-lite.ts'
import { inRoot } from '../scripts/workspace.ts'

describe('base images made from Debian packages', () => {
  const row = (...fields: string[]) => fields.join('|')
  const trixie = [
    row('Debian', 'Debian', 'trixie', 'main', 'http://mirror.test/debian/'),
    row('Debian', 'Debian', 'trixie-updates', 'main', 'http://mirror.test/debian/'),
    row('Debian', 'Debian-Security', 'trixie-security', 'main', 'http://mirror.test/security/'),
  ]

  test("come from the machine's own mirrors, whatever release the machine has", () => {
    expect(sourcesFor('bookworm', trixie.join('\n'))).toEqual([
      'deb http://mirror.test/debian/ bookworm main',
      'deb http://mirror.test/debian/ bookworm-updates main',
      'deb http://mirror.test/security/ bookworm-security main',
    ])
  })

  test('take nothing from other publishers, components or backports', () => {
    const others = [
      row('Vendor', 'Vendor', 'trixie', 'main', 'http://vendor.test/debian/'),
      row('Debian', 'Debian', 'trixie', 'contrib', 'http://mirror.test/debian/'),
      row('Debian Backports', 'Debian Backports', 'trixie-backports', 'main', 'http://mirror.test/debian/'),
    ]
    expect(sourcesFor('bookworm', others.join('\n'))).toEqual([])
  })

  test('have no sources while apt has not fetched its lists', () => {
    expect(sourcesFor('bookworm', '')).toEqual([])
  })

  test('accept an old mirror exactly as the machine does, and copy no other setting', () => {
    const dump =
      'APT "";\nAcquire::Check-Valid-Until "false";\nAcquire::http::Proxy "http://user:secret@proxy.test";'
    expect(mirrorSettings(dump)).toEqual(['Acquire::Check-Valid-Until "false";'])
  })
})

describe('licences in an image', () => {
  test.each([
    ['node_modules/express/lib/express.js', 'node_modules/express'],
    ['node_modules/@scope/name/index.js', 'node_modules/@scope/name'],
    ['node_modules/a/node_modules/b/index.js', 'node_modules/a/node_modules/b'],
    ['../elsewhere/node_modules/a/index.js', '../elsewhere/node_modules/a'],
    ['packages/core/src/run.ts', undefined],
  ])('%s belongs to %s', (file, folder) => {
    expect(packageFolder(file)).toBe(folder)
  })

  test('packages with the same text share it', () => {
    const document = licenseDocument([
      { title: 'b 2.0.0', text: 'the terms\r\n' },
      { title: 'c 1.0.0', text: 'other terms' },
      { title: 'a 1.0.0', text: 'the terms' },
    ])
    expect(document.match(/the terms/g)).toHaveLength(1)
    expect(document).toContain('a 1.0.0\nb 2.0.0\n\nthe terms\n')
    expect(document).toContain('c 1.0.0\n\nother terms\n')
  })

  test('a package without a licence text is refused', async () => {
    await using scratch = await scratchFolder()
    await writeFile(join(scratch.path, 'package.json'), '{"name":"bare","version":"1.0.0","license":"MIT"}')
    await expect(packageLicense(scratch.path)).rejects.toThrow('bare 1.0.0 (MIT) has no licence file')
  })
})

describe('the size of images', () => {
  const image = (added: number) => ({
    name: 'topz',
    tag: 'outrider/topz:0.1.0',
    base: 'outrider/base:latest',
    added,
  })

  test('one mebibyte on top of the base is accepted', () => {
    expect(tooLargeImages([image(1_048_576)])).toBeUndefined()
  })

  test('one byte more is refused, with the name, the size and the base', () => {
    expect(tooLargeImages([image(1), image(1_048_577)])).toContain(
      'outrider/topz:0.1.0 (1048577 bytes on outrider/base:latest)',
    )
  })

  test('is printed for each base, with what its images add to it', () => {
    const bases = [
      { tag: 'outrider/base:latest', size: 2 * 1_048_576 },
      { tag: 'outrider/git:latest', size: 3.5 * 1_048_576 },
    ]
    const images = [
      { name: 'git-sync', tag: 'outrider/git-sync:0.1.0', base: 'outrider/git:latest', added: 99 },
      image(1234),
    ]
    expect(sizeTable({ bases, images })).toEqual([
      'outrider/base:latest              2.0 MiB',
      'outrider/topz:0.1.0          +1,234 bytes',
      'outrider/git:latest               3.5 MiB',
      'outrider/git-sync:0.1.0         +99 bytes',
    ])
  })
})

describe('running programs', () => {
  test('the output is given without the last newline', async () => {
    expect(await run('cat', [], 'a\nb\n')).toBe('a\nb')
  })

  test('a failure names the command, the exit code and what it printed last', async () => {
    await expect(run('sh', ['-c', 'echo the reason >&2; exit 3'])).rejects.toThrow(
      /exit 3.*ended with 3\nthe reason/,
    )
  })

  test('a program that is not installed is named', async () => {
    await expect(run('no-such-program', [])).rejects.toThrow('cannot run no-such-program')
  })
})

describe('the decoders that replace iconv-lite', () => {
  test('a character split between chunks is decoded whole', () => {
    const decoder = getDecoder('utf-8')
    const bytes = Buffer.from('€')
    expect(decoder.write(bytes.subarray(0, 1)) + decoder.write(bytes.subarray(1)) + decoder.end()).toBe('€')
  })

  test('an unfinished character at the end becomes a replacement character', () => {
    const decoder = getDecoder('utf-8')
    expect(decoder.write(Buffer.from('€').subarray(0, 2)) + decoder.end()).toBe('\ufffd')
  })

  test('a byte order mark is dropped', () => {
    expect(decode(Buffer.from('\ufeffa', 'utf16le'), 'utf-16le')).toBe('a')
  })

  test('an unknown encoding is reported in the words that raw-body looks for', () => {
    expect(encodingExists('utf-32')).toBe(false)
    expect(() => getDecoder('utf-32')).toThrow(/^Encoding not recognized: /)
  })
})

describe('a bundle with express', () => {
  const source = `
    import express from 'express'
    export const app = express()
    app.use(express.json())
    app.post('/', (request, response) => { response.json(request.body) })
  `
  let folder: Awaited<ReturnType<typeof scratchFolder>>
  let bundled: Bundle
  let app: Express

  beforeAll(async () => {
    folder = await scratchFolder()
    const entry = join(folder.path, 'main.ts')
    await writeFile(entry, source)
    bundled = await bundle(entry, join(folder.path, 'out'))
    app = (await import(pathToFileURL(join(folder.path, 'out/main.js')).href)).app
  })
  afterAll(() => folder[Symbol.asyncDispose]())

  async function post(
    body: Uint8Array<ArrayBuffer>,
    charset: string,
  ): Promise<{ status: number; body: unknown }> {
    await using server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const response = await fetch(`http://127.0.0.1:${port}/`, {
      method: 'POST',
      headers: { 'content-type': `application/json; charset=${charset}`, connection: 'close' },
      body,
    })
    return { status: response.status, body: response.ok ? await response.json() : undefined }
  }

  test.each(['utf-8', 'utf-16le'] as const)('parses JSON in %s', async (charset) => {
    const body = Uint8Array.from(Buffer.from('{"price":"5 €"}', charset))
    expect(await post(body, charset)).toEqual({ status: 200, body: { price: '5 €' } })
  })

  test('answers 415 to JSON in an encoding that it does not know', async () => {
    expect((await post(Uint8Array.from(Buffer.from('{}')), 'utf-32')).status).toBe(415)
  })

  test('contains no tables of iconv-lite and mime-db', () => {
    expect(bundled.packages).toContain('node_modules/body-parser')
    expect(bundled.packages).not.toContain('node_modules/iconv-lite')
    expect(bundled.packages).not.toContain('node_modules/mime-db')
  })

  test('knows the types that containers answer with', () => {
    const types: Record<string, unknown> = JSON.parse(
      readFileSync(inRoot('docker/shims/mime-db.json'), 'utf8'),
    )
    const known: Record<string, object> = createRequire(inRoot('package.json'))('mime-db')
    for (const [type, facts] of Object.entries(types)) expect(known[type]).toMatchObject(facts as object)
    expect(Object.keys(types)).toEqual(
      expect.arrayContaining(['application/json', 'text/html', 'text/plain']),
    )
  })

  test('has the licence of every package inside beside it', async () => {
    const licenses = await readFile(join(folder.path, 'out/licenses.txt'), 'utf8')
    const names = bundled.packages.map((path) => path.replace(/^.*node_modules\//, ''))
    const titles = licenses.split('\n').map((line) => line.slice(0, line.indexOf(' ')))
    expect(names.filter((name) => !titles.includes(name))).toEqual([])
    expect(licenses).not.toContain('iconv-lite')
  })
})

test('a bundle that serves HTTP loads nothing of HTTP/2 and TLS', async () => {
  await using folder = await scratchFolder()
  const source = `
    import { createServer } from 'node:http'
    createServer()
    console.log(process.moduleLoadList.join())`
  await writeFile(join(folder.path, 'main.ts'), source)
  await bundle(join(folder.path, 'main.ts'), join(folder.path, 'out'))
  const loaded = execFileSync(process.execPath, [join(folder.path, 'out/main.js')], { encoding: 'utf8' })
  expect(loaded).toMatch(/\bhttp\b/)
  expect(loaded).not.toMatch(/\b(http2|tls)\b/)
})

describe('a bundle of a program with threads', () => {
  test('has their program beside its own', async () => {
    await using folder = await scratchFolder()
    const sources = {
      'main.ts': `
        import { once } from 'node:events'
        import { Worker } from 'node:worker_threads'
        import { greeting } from './shared.ts'
        export const said = async () => {
          const [words] = await once(new Worker(new URL('./worker.js', import.meta.url)), 'message')
          return greeting + words
        }`,
      'worker.ts': `
        import { parentPort } from 'node:worker_threads'
        import { greeting } from './shared.ts'
        parentPort?.postMessage(greeting.toUpperCase())`,
      'shared.ts': "export const greeting: string = 'hello'",
    }
    for (const [name, text] of Object.entries(sources)) await writeFile(join(folder.path, name), text)
    const { bytes } = await bundle(join(folder.path, 'main.ts'), join(folder.path, 'out'))
    const { said } = await import(pathToFileURL(join(folder.path, 'out/main.js')).href)
    expect(await said()).toBe('helloHELLO')
    const programs = (await readdir(join(folder.path, 'out'))).filter((file) => file.endsWith('.js'))
    expect(programs).toEqual(expect.arrayContaining(['main.js', 'worker.js']))
    const sizes = programs.map(async (file) => (await stat(join(folder.path, 'out', file))).size)
    expect((await Promise.all(sizes)).reduce((a, b) => a + b)).toBe(bytes)
  })
})

/** Inside the repository, so that what is written there can import the packages of the repository. */
async function scratchFolder(): Promise<AsyncDisposable & { path: string }> {
  const parent = join(import.meta.dirname, '../build')
  await mkdir(parent, { recursive: true })
  const path = await mkdtemp(join(parent, 'test-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}
