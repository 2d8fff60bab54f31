import { startLegacyApp } from './legacy-app.ts'
import { startStandInRedis } from './stand-in-redis.ts'

/** What the containers of the tour stand in front of. */
export interface Surroundings extends AsyncDisposable {
  readonly app: URL
  /** `host:port` of each. */
  readonly shards: readonly string[]
  /** For people. */
  readonly parts: readonly { readonly name: string; readonly where: string; readonly what: string }[]
}

/** Starts what would otherwise have to be installed. */
export async function startSurroundings(): Promise<Surroundings> {
  const app = await startLegacyApp()
  const shards = await Promise.all([startStandInRedis(), startStandInRedis(), startStandInRedis()])
  const addresses = shards.map(({ address }) => address)
  return {
    app: app.url,
    shards: addresses,
    parts: [
      { name: 'legacy application', where: app.url.href, what: 'plain HTTP, as it was' },
      {
        ...{ name: 'three shards', where: addresses.join(', ') },
        what: 'stand-ins of this program for Redis: they know GET, SET and PING alone',
      },
    ],
    async [Symbol.asyncDispose]() {
      await Promise.all([app, ...shards].map((part) => part[Symbol.asyncDispose]()))
    },
  }
}
