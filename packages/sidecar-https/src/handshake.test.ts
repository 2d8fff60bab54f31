import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { createCa } from './test-ca.ts'
import { ask, handshake, httpApp, outcomes, startWorld, type Tuning } from './test-support.ts'

const ca = createCa('servers')
const named = { name: 'one.crt', ...ca.issue({ dns: ['one.test'] }) }
const hello = () => httpApp((_, res) => res.end('hello'))

/** Says these very bytes to a world and nothing more. */
const bytes =
  (text: string, then: 'end' | 'wait' | 'reset' = 'end') =>
  async (port: number): Promise<void> => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    await once(socket, 'connect')
    socket.resume()
    if (text !== '') await new Promise((resolve) => socket.write(text, 'latin1', resolve))
    if (then === 'end') socket.end()
    if (then === 'reset') socket.resetAndDestroy()
    if (!socket.closed) await once(socket, 'close')
  }

const tls = (options: Parameters<typeof handshake>[1]) => async (port: number) => {
  const socket = await handshake(port, options).catch(() => undefined)
  // Not destroyed: in TLS 1.3 the last message of the handshake may still be on its way.
  if (socket !== undefined) await once(socket.resume().end(), 'close')
}

describe('how a connection has begun is told:', () => {
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  const weak = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' } as const
  test.each<[string, string, Tuning, (port: number) => Promise<void>]>([
    ['ok', 'a handshake', {}, tls({})],
    ['not-tls', 'plain HTTP', {}, bytes('GET / HTTP/1.1\r\nHost: a\r\n\r\n')],
    ['not-tls', 'a plain CONNECT', {}, bytes('CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n')],
    ['not-tls', 'a PostgreSQL client', {}, bytes('\0\0\0\x08\x04\xd2\x16\x2f')],
    ['not-tls', 'SSH', {}, bytes('SSH-2.0-OpenSSH_9.6\r\n')],
    [
      'not-tls',
      'a PROXY header of a peer that is not trusted',
      {},
      bytes('PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n'),
    ],
    ['no-agreement', 'TLS 1.0 and 1.1', {}, tls(old)],
    [
      'no-agreement',
      'TLS 1.2 where 1.3 is asked for',
      { minVersion: 'TLSv1.3' },
      tls({ maxVersion: 'TLSv1.2' }),
    ],
    ['no-agreement', 'a client of other ciphers', {}, tls(weak)],
    ['no-agreement', 'a client of other curves', { curves: 'P-384' }, tls({ ecdhCurve: 'P-256' })],
    ['no-agreement', 'a client of other protocols', {}, tls({ ALPNProtocols: ['spdy/3'] })],
    [
      'unknown-name',
      'a name without a certificate',
      { strictNames: true, certificates: [named] },
      tls({ servername: 'nobody.test' }),
    ],
    ['no-agreement', 'no name where one is needed', { strictNames: true, certificates: [named] }, tls({})],
    ['closed', 'a client that leaves at once', {}, bytes('')],
    ['closed', 'a client that resets at once', {}, bytes('', 'reset')],
    ['closed', 'a client that leaves in the middle of a record', {}, bytes('\x16\x03\x01\x02\x00')],
    [
      'closed',
      'a client that resets in the middle of a record',
      {},
      bytes('\x16\x03\x01\x02\x00\x01', 'reset'),
    ],
    ['timeout', 'a client that says nothing', { limits: { handshakeMs: 100 } }, bytes('', 'wait')],
    [
      'timeout',
      'a client that stops in the middle',
      { limits: { handshakeMs: 100 } },
      bytes('\x16\x03\x01\x02\x00', 'wait'),
    ],
  ])('%s for %s', async (outcome, _, tuning, act) => {
    await using world = await startWorld(await hello(), tuning)
    await act(world.port)
    expect(await outcomes(world)).toEqual([outcome])
    const [report] = world.handshakes
    expect(report?.error === undefined).toBe(outcome === 'ok')
    if (!tuning.strictNames && tuning.minVersion === undefined && tuning.curves === undefined) {
      expect((await ask(world.port)).body).toBe('hello')
    }
  })

  test('with the address of the client', async () => {
    await using world = await startWorld(await hello())
    await ask(world.port)
    await bytes('GET / HTTP/1.1\r\n\r\n')(world.port)
    await outcomes(world, 2)
    expect(world.handshakes.map(({ address }) => address)).toEqual(['127.0.0.1', '127.0.0.1'])
  })
})
