import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface LegacyApp extends AsyncDisposable {
  readonly url: URL
}

/** The application of the tour: plain HTTP and nothing else, as it was written long ago. */
export async function startLegacyApp(): Promise<LegacyApp> {
  const server = createServer((request, response) => {
    const seen = (name: string) => request.headers[`x-forwarded-${name}`] ?? 'nothing'
    response.setHeader('content-type', 'text/plain; charset=utf-8')
    response.end(
      `Hello from the legacy application, which speaks plain HTTP only.\n` +
        `You asked ${request.method} ${request.url} over ${seen('proto')}, from ${seen('for')}, of ${seen('host')}.\n`,
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: new URL(`http://127.0.0.1:${port}`),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}
