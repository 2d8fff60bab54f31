import type { RingServer } from './server.ts'

/** Servers of weight 1, with numbers from 1 behind their name. */
export function named(name: string, count: number): RingServer[] {
  return Array.from({ length: count }, (_, index) => ({ name: `${name}${index + 1}` }))
}

/** `key:0`, `key:1` and so on. */
export function someKeys(count: number): string[] {
  return Array.from({ length: count }, (_, number) => `key:${number}`)
}
