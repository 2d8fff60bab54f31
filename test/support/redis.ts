import { GenericContainer, Wait } from 'testcontainers'
import { docker } from './docker.ts'
import { inRoot } from './workspace.ts'

const IMAGE = 'outrider-test/redis'

export interface Redis extends AsyncDisposable {
  readonly host: string
  readonly port: number
}

/** Starts the Redis 7 of Debian, without persistence and open to all; `settings` as for its command line. */
export async function startRedis(...settings: string[]): Promise<Redis> {
  await docker(
    'build',
    '--quiet',
    '--tag',
    IMAGE,
    '--file',
    inRoot('test/e2e/redis.Dockerfile'),
    inRoot('test/support'),
  )
  const container = await new GenericContainer(IMAGE)
    .withExposedPorts(6379)
    .withCommand(settings)
    .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/))
    .start()
  return {
    host: container.getHost(),
    port: container.getMappedPort(6379),
    async [Symbol.asyncDispose]() {
      await container.stop()
    },
  }
}
