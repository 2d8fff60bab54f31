import { startLegacyApp } from './legacy-app.ts'
import { type Site, startSite } from './site.ts'
import { startStandInRedis } from './stand-in-redis.ts'

/** What the containers of the tour stand in front of. */
export interface Surroundings extends AsyncDisposable {
  readonly app: URL
  /** `host:port` of each. */
  readonly shards: readonly string[]
  /** Undefined where git is not installed. */
  readonly site: Site | undefined
  /** For people. */
  readonly parts: readonly { readonly name: string; readonly where: string; readonly what: string }[]
}

/** Starts what would otherwise have to be installed. */
export async function startSurroundings(): Promise<Surroundings> {
  const app = await startLegacyApp()
  const site = await startSite()
  const shards = await Promise.all([startStandInRedis(), startStandInRedis(), startStandInRedis()])
  const addresses = shards.map(({ address }) => address)
  return {
    app: app.url,
    shards: addresses,
    site,
    parts: [
      { name: 'legacy application', where: app.url.href, what: 'plain HTTP, as it was' },
      {
        ...{ name: 'three shards', where: addresses.join(', ') },
        what: 'stand-ins of this program for Redis: they know GET, SET and PING alone',
      },
      ...(site === undefined
        ? []
        : [{ name: 'site', where: site.repository, what: 'a repository of git with one page' }]),
    ],
    async [Symbol.asyncDispose]() {
      const parts = [app, ...shards, ...(site === undefined ? [] : [site])]
      await Promise.all(parts.map((part) => part[Symbol.asyncDispose]()))
    },
  }
}
