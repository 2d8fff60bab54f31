import { connect } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { httpApp, startProxy, until } from './test-support.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** What clients do before they are gone, most of them without a goodbye. */
const HABITS = [
  '',
  'GET / HT',
  'nonsense\r\n\r\n',
  'GET /small HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  'GET /large HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /never HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /broken HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET /small HTTP/1.1\r\nHost: a\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\nGET /small HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf',
  'POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
  `POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n${'b'.repeat(40_000)}`,
  'POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
  'POST /small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n',
  'GET /late HTTP/1.1\r\nHost: a\r\n\r\n',
]

test('clients that come, break off and read slowly by the thousand leave nothing behind', async () => {
  const large = Buffer.alloc(2 * 1024 * 1024)
  await using app = await httpApp((req, res) => {
    req.resume()
    if (req.url === '/small') res.end('small')
    if (req.url === '/large') res.end(large)
    if (req.url === '/broken') res.write('half', () => res.destroy())
  })
  const { upstream } = app
  let asked = 0
  await using proxy = await startProxy({
    async route({ path }) {
      asked += 1
      if (path === '/late') await new Promise((resolve) => setTimeout(resolve, 3))
      return asked % 7 === 0 ? { upstream, shadow: upstream } : { upstream }
    },
  })

  const live = (index: number) =>
    new Promise<void>((resolve) => {
      const socket = connect(proxy.port, '127.0.0.1')
      const habit = HABITS[index % HABITS.length] ?? ''
      socket.on('error', () => undefined)
      socket.on('close', () => resolve())
      socket.on('connect', () => {
        socket.write(habit, 'latin1')
        if (index % 3 === 0) socket.pause()
        else socket.resume()
        const leave = () => {
          if (index % 4 === 0) socket.end()
          if (index % 4 === 1) socket.resetAndDestroy()
          else setTimeout(() => socket.destroy(), 2)
        }
        setTimeout(leave, index % 9)
      })
    })
  const round = async (cycles: number) => {
    let next = 0
    const worker = async () => {
      while (next < cycles) await live(next++)
    }
    await Promise.all(Array.from({ length: 50 }, worker))
    await until(() => proxy.forwarder.connections === 0, 'the end of all clients')
    await until(() => proxy.forwarder.inFlight === 0, 'the end of all requests')
    proxy.requests.length = 0
    proxy.shadows.length = 0
    collect()
    await new Promise((resolve) => setTimeout(resolve, 20))
    collect()
    return process.memoryUsage().heapUsed
  }

  await round(1_000)
  const before = await round(1_500)
  const after = await round(1_500)
  // A connection that leaves its objects behind costs some kilobytes.
  expect(after - before).toBeLessThan(1_500_000)
  await proxy.forwarder.drain()
  await until(() => app.sockets.size === 0, 'no connection to the application is left')
}, 40_000)
