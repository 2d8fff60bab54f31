import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { ask, httpApp, startWorld, until } from './test-support.ts'

const WAYS = ['end', 'destroy', 'reset'] as const

test.each(WAYS)('clients of HTTP/2 that leave without a GOAWAY (%s) leave nothing behind', async (way) => {
  const app = httpApp((req, res) => {
    if (req.url !== '/never') res.end('hello')
  })
  await using world = await startWorld(await app)
  for (const path of [undefined, '/', '/never']) {
    const gone = Array.from({ length: 20 }, async () => {
      const raw = connect(world.port, '127.0.0.1').on('error', () => undefined)
      const secure = connectTls({ socket: raw, rejectUnauthorized: false, ALPNProtocols: ['h2'] })
      secure.on('error', () => undefined)
      await once(secure, 'secureConnect')
      const session = connectHttp2('https://localhost', { createConnection: () => secure })
      session.on('error', () => undefined)
      await once(session, 'remoteSettings')
      if (path !== undefined) {
        const stream = session.request({ ':path': path }).on('error', () => undefined)
        if (path === '/') await once(stream.resume(), 'end')
      }
      if (way === 'end') raw.end()
      else if (way === 'destroy') raw.destroy()
      else raw.resetAndDestroy()
    })
    await Promise.all(gone)
    await until(() => world.sidecar.openConnections === 0, `no connection, after ${path ?? 'no request'}`)
    await until(() => world.sidecar.inFlight === 0, 'no request')
  }
  expect((await ask(world.port)).body).toBe('hello')
})
