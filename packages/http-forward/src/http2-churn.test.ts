import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { constants, http2Client, replyOf, startWorld } from './http2-test-support.ts'
import { httpApp, until } from './test-support.ts'

/** What a client does with one stream, and the application with its request. */
const behaviour = fc.record({
  method: fc.constantFrom('GET', 'POST', 'HEAD', 'DELETE'),
  app: fc.constantFrom('answer', 'echo', 'half', 'chunks', 'early', 'slow', 'die'),
  body: fc.constantFrom(0, 1, 1_000, 200_000),
  client: fc.constantFrom('reads', 'resets', 'resets after the head', 'ends with NO_ERROR', 'pauses'),
  afterMs: fc.integer({ min: 0, max: 20 }),
})

const app = () =>
  httpApp((req, res) => {
    req.on('error', () => undefined)
    res.on('error', () => undefined)
    switch (req.url) {
      case '/answer':
        req.resume().on('end', () => res.end('answer'))
        break
      case '/echo':
        req.pipe(res)
        break
      case '/half':
        res.writeHead(200, { 'Content-Length': 100_000 }).write('half')
        setTimeout(() => res.destroy(), 10)
        break
      case '/chunks':
        req.resume()
        for (let count = 0; count < 50; count += 1) res.write('x'.repeat(3_000))
        res.end()
        break
      case '/early':
        res.writeHead(400).end('early')
        break
      case '/slow':
        setTimeout(() => res.end('slow'), 30)
        break
      default:
        res.destroy()
    }
  })

describe('any mixture of streams that end well and badly', () => {
  it('leaves nothing behind on either side, and the connection serves on', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(behaviour, { minLength: 5, maxLength: 40 }), async (streams) => {
        await using world = await startWorld(await app(), { limits: { resets: 1_000, stallMs: 500 } })
        using client = await http2Client(world.port)
        const all = streams.map(async ({ method, app: path, body, client: does, afterMs }) => {
          const stream = client.open({ ':method': method, ':path': `/${path}` }, body === 0)
          if (body > 0) stream.end(Buffer.alloc(body))
          if (does === 'reads') return await replyOf(stream)
          const closed = new Promise((resolve) => stream.on('close', resolve))
          if (does === 'resets after the head') {
            await Promise.race([new Promise((resolve) => stream.on('response', resolve)), closed])
          }
          if (does === 'pauses') stream.pause()
          await delay(afterMs)
          stream.close(does === 'ends with NO_ERROR' ? constants.NGHTTP2_NO_ERROR : constants.NGHTTP2_CANCEL)
          stream.resume()
          // A client of node:http2 that was told to keep the rest of its body to itself waits for ever to have sent it.
          await Promise.race([closed, delay(100)])
          // To destroy a stream that is closed with data pending makes the client write for ever.
          if (does !== 'ends with NO_ERROR') stream.destroy()
          return undefined
        })
        const replies = await Promise.all(all)
        for (const [index, reply] of replies.entries()) {
          const { app: path, method } = streams[index] ?? {}
          if (reply === undefined || path === 'die') continue
          if (path === 'answer' && method !== 'HEAD')
            expect(reply).toMatchObject({ status: 200, body: 'answer' })
          // An application that closes with a part of a body unread resets its own response.
          const whole = reply.code === constants.NGHTTP2_NO_ERROR && reply.status === 200
          if (path === 'chunks' && method !== 'HEAD' && whole) expect(reply.body.length).toBe(150_000)
          if (path === 'half' && method !== 'HEAD') expect(reply.code).not.toBe(constants.NGHTTP2_NO_ERROR)
        }
        await until(() => world.forwarder.inFlight === 0, 'none in flight')
        expect((await client.ask({ ':path': '/answer' })).body).toBe('answer')
        client.session.close()
      }),
      { numRuns: 20, endOnFailure: true },
    )
  }, 60_000)
})
