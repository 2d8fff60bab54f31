import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { Admission } from './admission.ts'
import { addressMatcher } from './cidr.ts'
import {
  ask,
  httpApp,
  outcomes,
  rawClient,
  startWorld,
  type Tuning,
  until,
  type World,
} from './test-support.ts'

const NONE = Number.POSITIVE_INFINITY
const serving = async (limits: Tuning['limits'], tuning: Tuning = {}): Promise<World> =>
  startWorld(await httpApp((_, res) => res.end('hello')), { ...(limits && { limits }), ...tuning })

/** A connection that says nothing, from an address of loopback. */
const silent = (world: World, localAddress = '127.0.0.1'): Socket =>
  connect({ port: world.port, host: '127.0.0.1', localAddress })
    .on('error', () => undefined)
    .resume()

describe('a connection too many', () => {
  test.each<[string, Tuning['limits']]>([
    ['in all', { connections: 2 }],
    ['of one address', { connectionsPerAddress: 2 }],
  ])('(%s) is closed at once and told, and those that are open go on', async (_, limits) => {
    await using world = await serving(limits)
    using one = await rawClient(world.port)
    using two = await rawClient(world.port)
    await outcomes(world, 2)
    await once(silent(world), 'close')
    expect(await outcomes(world, 3)).toEqual(['ok', 'ok', 'too-many'])
    expect(world.handshakes[2]).toMatchObject({ address: '127.0.0.1', error: expect.any(Error) })
    for (const client of [one, two]) {
      client.socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      await client.until('hello')
    }
  })

  test('is let in again when another has closed', async () => {
    await using world = await serving({ connections: 1 })
    for (let round = 0; round < 5; round += 1) {
      expect((await ask(world.port)).body).toBe('hello')
      await until(() => world.sidecar.openConnections === 0, 'the end of the connection')
    }
    expect(await outcomes(world, 5)).toEqual(Array(5).fill('ok'))
  })

  test('is counted from its first byte: a handshake that is not finished takes a place', async () => {
    await using world = await serving({ connections: 1 })
    const first = silent(world)
    await until(() => world.sidecar.openConnections === 1, 'the first')
    await once(silent(world), 'close')
    expect(await outcomes(world)).toEqual(['too-many'])
    first.destroy()
    await until(() => world.sidecar.openConnections === 0, 'the end of the first')
    expect((await ask(world.port)).body).toBe('hello')
  })

  test('of one address leaves room for another', async () => {
    await using world = await serving({ connectionsPerAddress: 1 })
    const first = silent(world)
    await until(() => world.sidecar.openConnections === 1, 'the first')
    await once(silent(world), 'close')
    expect((await ask(world.port, '/', { localAddress: '127.0.0.2' })).body).toBe('hello')
    first.destroy()
  })

  describe('behind a proxy that sends PROXY headers', () => {
    const trusting = { proxyFrom: addressMatcher(['127.0.0.1']) }
    const behind = (world: World, address: string): Socket => {
      const socket = silent(world)
      socket.write(`PROXY TCP4 ${address} 192.0.2.1 1 2\r\n`)
      return socket
    }

    test('is counted by the address that its header names, and not by that of the proxy', async () => {
      await using world = await serving({ connectionsPerAddress: 1 }, trusting)
      const first = behind(world, '203.0.113.1')
      const other = behind(world, '203.0.113.2')
      await until(() => world.sidecar.openConnections === 2, 'both clients')
      await once(behind(world, '203.0.113.1'), 'close')
      expect(await outcomes(world)).toEqual(['too-many'])
      expect(world.handshakes).toMatchObject([{ address: '203.0.113.1', error: expect.any(Error) }])
      expect([first.closed, other.closed]).toEqual([false, false])
      first.destroy()
      other.destroy()
    })

    test('is let in again when another of the same client has closed', async () => {
      await using world = await serving({ connectionsPerAddress: 1 }, trusting)
      for (let round = 0; round < 3; round += 1) {
        const socket = behind(world, '203.0.113.1')
        await until(() => world.sidecar.openConnections === 1, 'the connection')
        socket.end()
        await until(() => world.sidecar.openConnections === 0, 'the end of the connection')
      }
      expect(await outcomes(world, 3)).toEqual(['closed', 'closed', 'closed'])
    })

    test('is counted in all from its acceptance on: one without its header takes a place', async () => {
      await using world = await serving({ connections: 1 }, trusting)
      const first = silent(world)
      await until(() => world.sidecar.openConnections === 1, 'the first')
      await once(silent(world), 'close')
      expect(await outcomes(world)).toEqual(['too-many'])
      first.destroy()
    })

    test('is not counted for an address while its header has not come', async () => {
      await using world = await serving({ connectionsPerAddress: 1 }, trusting)
      const waiting = [silent(world), silent(world), silent(world)]
      await until(() => world.sidecar.openConnections === 3, 'three without a header')
      waiting[0]?.write('PROXY TCP4 203.0.113.1 192.0.2.1 1 2\r\n')
      waiting[1]?.write('PROXY TCP4 203.0.113.1 192.0.2.1 1 2\r\n')
      expect(await outcomes(world)).toEqual(['too-many'])
      await until(() => world.sidecar.openConnections === 2, 'the end of one')
      for (const socket of waiting) socket.destroy()
    })

    test('is counted by the address of the proxy where its header names no client', async () => {
      await using world = await serving({ connectionsPerAddress: 1 }, trusting)
      const first = silent(world)
      first.write('PROXY UNKNOWN\r\n')
      await until(() => world.sidecar.openConnections === 1, 'the first')
      const second = silent(world)
      second.write('PROXY UNKNOWN\r\n')
      await outcomes(world)
      expect(world.handshakes).toMatchObject([{ outcome: 'too-many', address: '127.0.0.1' }])
      first.destroy()
      second.destroy()
    })
  })

  test('leaves nothing behind, however many there are', async () => {
    await using world = await serving({ connections: 5 })
    const many = Array.from({ length: 200 }, () => silent(world))
    await until(() => many.filter(({ closed }) => closed).length === 195, '195 closed')
    expect(world.sidecar.openConnections).toBe(5)
    for (const socket of many) socket.destroy()
    await until(() => world.sidecar.openConnections === 0, 'all closed')
    expect((await ask(world.port)).body).toBe('hello')
  })
})

describe('counting', () => {
  test('forgets an address with its last connection', () => {
    const admission = new Admission({ connections: NONE, connectionsPerAddress: 1 })
    for (let round = 0; round < 3; round += 1) {
      expect(admission.enter('10.0.0.1')).toBeUndefined()
      expect(admission.enter('10.0.0.1')).toMatch(/^there are 1 connections from 10\.0\.0\.1/)
      admission.leave('10.0.0.1')
    }
  })

  test('of one whose address is known later takes a place at once, and one of its address then', () => {
    const admission = new Admission({ connections: 2, connectionsPerAddress: 1 })
    expect([admission.enter(undefined), admission.enter(undefined)]).toEqual([undefined, undefined])
    expect(admission.enter(undefined)).toMatch(/^there are 2 connections/)
    expect(admission.assign('10.0.0.1')).toBeUndefined()
    expect(admission.assign('10.0.0.1')).toMatch(/^there are 1 connections from 10\.0\.0\.1/)
    admission.leave(undefined)
    admission.leave('10.0.0.1')
    expect(admission.enter('10.0.0.1')).toBeUndefined()
  })

  test('of a million addresses that come and go leaves no memory behind', () => {
    setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    const admission = new Admission({ connections: NONE, connectionsPerAddress: 1 })
    collect()
    const before = process.memoryUsage().heapUsed
    for (let address = 0; address < 1_000_000; address += 1) {
      admission.enter(`2001:db8::${address.toString(16)}`)
      admission.leave(`2001:db8::${address.toString(16)}`)
    }
    collect()
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(16 * 1024 * 1024)
    expect(admission.enter('2001:db8::1')).toBeUndefined()
  })

  test('has no limit for peers without an address, as on a Unix socket, but the one in all', () => {
    const admission = new Admission({ connections: 3, connectionsPerAddress: 1 })
    for (let round = 0; round < 3; round += 1) expect(admission.enter(undefined)).toBeUndefined()
    expect(admission.enter(undefined)).toMatch(/^there are 3 connections/)
  })
})
