import { expect, test } from 'vitest'
import { httpApp, parseResponses, type RawClient, rawClient, startProxy, until } from './test-support.ts'

test('300 clients that send their heads and bodies byte by byte do not keep others from being served', async () => {
  let whole = 0
  await using app = await httpApp((req, res) => {
    req.resume().on('end', () => {
      whole += 1
      res.end(req.url)
    })
  })
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }) })
  const slow: RawClient[] = []
  const rest =
    'GET / HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
  try {
    for (let index = 0; index < 300; index += 1) {
      const client = await rawClient(proxy.port)
      slow.push(client)
      if (index % 2 === 0) continue
      const framing = index % 4 === 1 ? 'Content-Length: 500' : 'Transfer-Encoding: chunked'
      client.send(`POST /slow HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`)
    }
    await until(() => proxy.forwarder.inFlight === 150, 'all slow bodies under way')
    let served = 0
    for (let turn = 0; turn < 50; turn += 1) {
      for (const [index, client] of slow.entries()) {
        if (index % 2 === 0) client.send(rest.charAt(turn))
        else client.send(index % 4 === 1 ? 'b' : '1\r\nb\r\n')
      }
      using client = await rawClient(proxy.port)
      client.send(`GET /${turn} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      await client.untilClosed()
      expect(parseResponses(client.received, ['GET'])).toMatchObject([{ status: 200, body: `/${turn}` }])
      served += 1
    }
    expect([served, whole]).toEqual([50, 50])
    expect(slow.filter(({ ended, received }) => ended || received !== '')).toEqual([])
    await until(() => proxy.forwarder.connections === 300, 'the end of the quick clients')
  } finally {
    for (const client of slow) client.socket.destroy()
  }
  await until(() => proxy.forwarder.connections === 0, 'the end of all clients')
  await until(() => app.sockets.size <= 1, 'the end of the requests that nobody waits for')
})

test('a client that takes nothing of its response is given up, though it goes on sending', async () => {
  await using app = await httpApp((_, res) => {
    const pour = (): void => {
      while (res.write(Buffer.alloc(64 * 1024)));
      res.once('drain', pour)
    }
    pour()
  })
  const { upstream } = app
  await using proxy = await startProxy({ route: () => ({ upstream }), limits: { stallMs: 100 } })
  using client = await rawClient(proxy.port)
  client.socket.pause()
  client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const trickle = setInterval(() => client.send('G'), 20)
  try {
    await until(() => proxy.forwarder.connections === 0, 'the end of the client')
  } finally {
    clearInterval(trickle)
  }
})
