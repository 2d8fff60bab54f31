import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { contractLines, forEveryContainer, line } from '../support/contract.ts'
import { until } from '../support/program.ts'
import { filesOpenForWriting, listeningOn, socketCount } from '../support/sockets.ts'
import { containerPackages, inRoot } from '../support/workspace.ts'

const genericHostility: readonly (string | Uint8Array)[] = [
  '',
  '\r\n\r\n\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nX: \x00\x01\x02\r\n\r\n',
  `GET /${'a'.repeat(200_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
  `GET / HTTP/1.1\r\n${'X: y\r\n'.repeat(50_000)}\r\n`,
  '*1\r\n$99999999999\r\n',
  new Uint8Array(100_000),
  Uint8Array.from({ length: 50_000 }, (_, index) => (index * 7919) % 256),
]

forEveryContainer((subject) => {
  line(16, 'the image runs as 65532 and writes nowhere: its program opens no file for writing', async () => {
    const program = await subject.start()
    await subject.fixture.work(await program.addresses())
    expect(filesOpenForWriting(program.pid)).toEqual([])
  })

  line(17, 'malformed bytes on any port get an error and nothing else', async () => {
    const program = await subject.start()
    const at = await program.addresses()
    await program.ask('/healthz')
    const before = socketCount(program.pid)
    for (const [port, address] of Object.entries(at)) {
      if ('path' in address) continue
      for (const bytes of port === 'admin'
        ? genericHostility
        : [...genericHostility, ...subject.fixture.hostile]) {
        expect(await answerTo(bytes, address)).not.toMatch(/^HTTP\/1\.1 (2\d\d|5(?!02|04)\d\d)/)
        await subject.fixture.work(at)
      }
    }
    expect((await program.ask('/healthz')).status).toBe(200)
    await until('nothing left behind', () => socketCount(program.pid) <= before)
  })

  line(18, 'it listens where its parameters say and nowhere else', async () => {
    const program = await subject.start()
    const expected = Object.values(await program.addresses()).flatMap((address) =>
      'path' in address ? [] : [address.port],
    )
    const listening = listeningOn(program.pid)
    expect(listening.map(({ port }) => port).sort()).toEqual(expected.sort())
    expect(listening.every(({ loopback }) => loopback)).toBe(true)
  })
})

/** What a port answers to bytes until it closes the connection. */
async function answerTo(
  bytes: string | Uint8Array,
  { host, port }: { host: string; port: number },
): Promise<string> {
  const socket = connect(port, host)
  const answer: Buffer[] = []
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => answer.push(chunk))
  socket.end(bytes)
  await new Promise((resolve) => socket.on('close', resolve))
  return Buffer.concat(answer).toString('latin1')
}

const packs = await containerPackages()

line(18, 'the defaults are those of the table of ports, and no two containers share a port', () => {
  const guide = readFileSync(inRoot('CONTRIBUTING.md'), 'utf8')
  const table = new Map(
    [...guide.matchAll(/^\| ([a-z0-9-]+) \| (\S+)[^|]* \| (\d+) \|$/gm)].map(([, name, listen, admin]) => [
      name,
      { listen, admin },
    ]),
  )
  const ports: string[] = []
  for (const { container } of packs) {
    const row = table.get(container.name)
    expect(row, `${container.name} is missing in CONTRIBUTING.md's table of ports`).toBeDefined()
    expect(String(container.adminPort)).toBe(row?.admin)
    const defaults = Object.values(container.ports).flatMap(
      (name) => container.params.find((param) => param.name === name)?.facts.default ?? [],
    )
    if (row?.listen !== '-') expect(defaults[0]).toBe(row?.listen)
    ports.push(String(container.adminPort), ...defaults.map((text) => text.split(':').at(-1) ?? ''))
  }
  expect(new Set(ports).size).toBe(ports.length)
})

it('every line of the container contract has a test', () => {
  const sources = [
    'contract/parameters',
    'contract/interface',
    'contract/life',
    'contract/safety',
    'generated',
    'e2e/image',
    'e2e/examples',
    'e2e/endurance',
  ]
  const proved = sources.flatMap((name) =>
    [...readFileSync(inRoot('test', `${name}.test.ts`), 'utf8').matchAll(/\bline\((\d+),/g)].map((match) =>
      Number(match[1]),
    ),
  )
  expect([...new Set(proved)].sort((a, b) => a - b)).toEqual([...contractLines.keys()])
})
