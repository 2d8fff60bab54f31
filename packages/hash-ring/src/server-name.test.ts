import { expect, it } from 'vitest'
import { twemproxyOrder } from './server.ts'
import { libmemcachedName, spymemcachedName, twemproxyServer } from './server-name.ts'

it.each([
  ['10.0.1.1:6379:1', '10.0.1.1:6379', 1, { host: '10.0.1.1', port: 6379 }],
  ['10.0.1.1:06379:1', '10.0.1.1:06379', 1, { host: '10.0.1.1', port: 6379 }],
  ['10.0.1.1:11211:600', '10.0.1.1', 600, { host: '10.0.1.1', port: 11211 }],
  ['10.0.1.1:11211:1 redis-1', 'redis-1', 1, { host: '10.0.1.1', port: 11211 }],
  ['::1:6379:2', '::1:6379', 2, { host: '::1', port: 6379 }],
  ['/run/redis.sock:1', '/run/redis.sock:', 1, { path: '/run/redis.sock' }],
  ['/run/redis.sock:3 redis-1', 'redis-1', 3, { path: '/run/redis.sock' }],
])('twemproxy reads %s as %s', (line, name, weight, address) => {
  expect(twemproxyServer(line)).toEqual({ name, weight, address })
})

it.each([
  ['localhost:6379', /must be host:port:weight \[name\] or \/path:weight \[name\]/],
  ['localhost:6379:1 ', /must be host:port:weight/],
  ['localhost:6379:1  redis', /must be host:port:weight/],
  ['localhost:6379:-1', /must be host:port:weight/],
  ['/run/redis.sock', /must be host:port:weight/],
  ['', /must be host:port:weight/],
  ['localhost:6379:0', /weight must be at least 1/],
  ['/run/redis.sock:0', /weight must be at least 1/],
  ['localhost:0:1', /port must be 1 to 65535/],
  ['localhost:65536:1', /port must be 1 to 65535/],
])('the line %j is refused by name', (line, message) => {
  expect(() => twemproxyServer(line)).toThrow(message)
  expect(() => twemproxyServer(line)).toThrow(JSON.stringify(line))
})

it('libmemcached leaves its own port out, spymemcached never does', () => {
  expect(libmemcachedName('10.0.1.1', 11211)).toBe('10.0.1.1')
  expect(libmemcachedName('10.0.1.1', 11212)).toBe('10.0.1.1:11212')
  expect(spymemcachedName('10.0.1.1', 11211)).toBe('/10.0.1.1:11211')
})

it('twemproxy orders names by length and then by bytes', () => {
  const names = ['redis-10', 'redis-9', 'redis-2', 'é', 'zz', 'Z']
  const order = twemproxyOrder(names.map((name) => ({ name })))
  expect(order.map((index) => names[index])).toEqual(['Z', 'zz', 'é', 'redis-2', 'redis-9', 'redis-10'])
})
