import { GenericContainer, Wait } from 'testcontainers'
import { docker } from './docker.ts'
import { inRoot } from './workspace.ts'

const IMAGE = 'outrider-test/redis'

export interface Redis extends AsyncDisposable {
  readonly host: string
  readonly port: number
}

/** The Redis 7 of Debian, without persistence and open to all; `settings` as for its command line. */
export async function redisContainer(...settings: string[]): Promise<GenericContainer> {
  await docker(
    'build',
    '--quiet',
    '--tag',
    IMAGE,
    '--file',
    inRoot('test/e2e/redis.Dockerfile'),
    inRoot('test/support'),
  )
  return new GenericContainer(IMAGE)
    .withCommand(settings)
    .withWaitStrategy(Wait.forLogMessage(/ready to accept connections/i))
}

/** Starts one of them. */
export async function startRedis(...settings: string[]): Promise<Redis> {
  const container = await (await redisContainer(...settings)).withExposedPorts(6379).start()
  return {
    host: container.getHost(),
    port: container.getMappedPort(6379),
    async [Symbol.asyncDispose]() {
      await container.stop()
    },
  }
}
