import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer as createSecureServer } from 'node:https'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { askpass } from './askpass.ts'
import { serve } from './test-support.ts'

const hidden = /^(?!.*hunter2)/

test('the service says user and password, among other lines', async () => {
  const { url } = await serve((request, response) =>
    response.end(`a\npassword=p=1\n\nusername=${request.url}\n`),
  )
  expect(await askpass(new URL('/git?x=1', url))).toEqual({ username: '/git?x=1', password: 'p=1' })
})

test('lines may end as those of HTTP do', async () => {
  const { url } = await serve((_, response) => response.end('username=me\r\npassword=hunter2\r\n'))
  expect(await askpass(url)).toEqual({ username: 'me', password: 'hunter2' })
})

test('credentials in its URL are sent to it, and are in no error', async () => {
  const { url } = await serve((request, response) => {
    response.writeHead(request.headers.authorization === `Basic ${btoa('me:hunter2')}` ? 418 : 200).end()
  })
  const given = new URL('/git?token=hunter2', url)
  given.username = 'me'
  given.password = 'hunter2'
  await expect(askpass(given)).rejects.toThrow(
    `the askpass service at ${url.origin} answered with status 418: it must be 200`,
  )
})

test.each([
  ['', 'no username'],
  ['username=me\n', 'no password'],
  ['username=\npassword=hunter2\n', 'no username'],
  ['username=me\npassword=\n', 'no password'],
  ['password=hunter2', 'no username'],
  [' username=me\npassword=hunter2', 'no username'],
  ['{"username":"me","password":"hunter2"}', 'no username'],
  ['username=me\npassword=hunter2\0x', 'a carriage return or NUL'],
])('%j is no answer, and not shown', async (body, why) => {
  const { url } = await serve((_, response) => response.end(body))
  await expect(askpass(url)).rejects.toThrow(
    new RegExp(`${hidden.source}the askpass service at .* gave .*${why}`),
  )
})

test.each([201, 204, 301, 307, 403, 500])(
  'status %d is no success, and its body not shown',
  async (status) => {
    const { url } = await serve((request, response) => {
      const isAgain = request.url === '/again'
      response.writeHead(isAgain ? 200 : status, { location: '/again' })
      response.end(isAgain || status !== 204 ? 'username=hunter2\npassword=hunter2\n' : undefined)
    })
    await expect(askpass(url)).rejects.toThrow(
      new RegExp(`${hidden.source}.* answered with status ${status}`),
    )
  },
)

test('an answer of 64 KiB is read, and a longer one refused', async () => {
  const lines = 'username=me\npassword=hunter2\n'
  let length = 65_536
  const { url } = await serve((_, response) => response.end(lines.padEnd(length, 'x')))
  expect(await askpass(url)).toEqual({ username: 'me', password: 'hunter2' })
  length += 1
  await expect(askpass(url)).rejects.toThrow('answered with more than 64 KiB')
})

test('an answer without end is refused', async () => {
  const { url } = await serve((_, response) => {
    const more = () => {
      while (response.write('username=hunter2\n'.repeat(1000)));
    }
    response.on('drain', more)
    more()
  })
  await expect(askpass(url)).rejects.toThrow('answered with more than 64 KiB')
})

test.each([
  ['never answers', () => undefined],
  ['never ends', (response: { write(text: string): unknown }) => response.write('username=me\n')],
])('a service that %s is given up', async (_, act) => {
  const { url } = await serve((_, response) => act(response))
  await expect(askpass(url)).rejects.toThrow('did not answer within 1 s')
})

test.each([
  ['', 'cannot be reached: socket hang up'],
  ['hunter2\r\n\r\n', 'cannot be reached: Parse Error'],
  ['HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhunter2', 'broke off its answer'],
  [
    'HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhunter2',
    '(cannot be reached|closed)',
  ],
])('a service that says %j and leaves is told as such', async (said, why) => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.end(said))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  await expect(askpass(new URL(`http://127.0.0.1:${port}`))).rejects.toThrow(
    new RegExp(`${hidden.source}the askpass service at http://127.0.0.1:${port} ${why}`),
  )
})

test('a service that is not there is told as such', async () => {
  await expect(askpass(new URL('http://me:hunter2@127.0.0.1:1/hunter2'))).rejects.toThrow(
    new RegExp(`${hidden.source}.*cannot be reached: connect ECONNREFUSED`),
  )
})

test.each([
  ['of the system', (file: string) => ({ SSL_CERT_FILE: file }), '{"username":"me","password":"hunter2"}'],
  [
    'that are added',
    (file: string) => ({ NODE_EXTRA_CA_CERTS: file }),
    '{"username":"me","password":"hunter2"}',
  ],
  ['of Node', () => ({}), 'cannot be reached: self-signed certificate'],
])('over TLS the authorities %s are asked for the certificate', async (_, environment, said) => {
  const run = promisify(execFile)
  const directory = await mkdtemp(join(tmpdir(), 'askpass-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  const names = ['-subj', '/CN=service', '-addext', 'subjectAltName=IP:127.0.0.1']
  await run('openssl', [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    ...names,
    '-keyout',
    key,
    '-out',
    cert,
  ])
  const server = createSecureServer({ key: await readFile(key), cert: await readFile(cert) }, (_, response) =>
    response.end('username=me\npassword=hunter2\n'),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : undefined
  // What Node trusts is settled when it starts.
  const script = `
    import { askpass } from ${JSON.stringify(new URL('askpass.ts', import.meta.url).href)}
    await askpass(new URL('https://127.0.0.1:${port}')).then(
      (login) => console.log(JSON.stringify(login)), (error) => console.log(error.message))`
  const env = { PATH: '/usr/bin:/bin', ...environment(cert) }
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { env })
  expect(stdout).toContain(said)
})
