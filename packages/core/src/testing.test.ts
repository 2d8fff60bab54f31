import { describe, expect, it, vi } from 'vitest'
import { defineContainer } from './container.ts'
import { address, text } from './kinds.ts'
import { onFreePorts, startContainer } from './testing.ts'

const box = defineContainer({
  name: 'test-box',
  pattern: 'sidecar',
  summary: 'Does nothing.',
  contract: [],
  admin: 9999,
  params: {
    listen: address('Where to listen.', { default: '0.0.0.0:80' }),
    target: address('Where to send.', { default: '127.0.0.1:81' }),
    label: text('What to say.', { example: 'x' }),
  },
  ports: { http: 'listen' },
  metrics: {},
  async start({ params }) {
    return { addresses: { http: params.listen }, async [Symbol.asyncDispose]() {} }
  },
})

it('gives free loopback ports to the admin API and every port, and to no other address', () => {
  expect(onFreePorts(box)).toEqual({ TEST_BOX_LISTEN: '127.0.0.1:0', TEST_BOX_ADMIN: '127.0.0.1:0' })
})

describe('startContainer', () => {
  it('lets two containers run at once', async () => {
    await using one = await startContainer(box, { TEST_BOX_LABEL: 'a' })
    await using two = await startContainer(box, { TEST_BOX_LABEL: 'a' })
    expect(one.admin).not.toEqual(two.admin)
  })

  it('lets the caller say where to listen', async () => {
    await using started = await startContainer(box, { TEST_BOX_LABEL: 'a', TEST_BOX_LISTEN: '127.0.0.2:7' })
    expect(started.addresses['http']).toEqual({ host: '127.0.0.2', port: 7 })
  })

  it('rejects with every problem of the environment', async () => {
    await expect(startContainer(box, { TEST_BOX_TARGET: 'x' })).rejects.toThrow(
      /^TEST_BOX_TARGET .* must be host:port.*\nTEST_BOX_LABEL .* is required/,
    )
  })

  it('takes nothing from the environment of the tests', async () => {
    vi.stubEnv('TEST_BOX_LABEL', 'a')
    await expect(startContainer(box)).rejects.toThrow('TEST_BOX_LABEL (--label) is required')
    vi.unstubAllEnvs()
  })

  it('raises a signal that nobody asked for to no effect', async () => {
    await using started = await startContainer(box, { TEST_BOX_LABEL: 'a' })
    started.signal('SIGUSR1')
    expect((await started.ask('/readyz')).status).toBe(200)
  })

  it('gives the log as events', async () => {
    await using started = await startContainer(box, { TEST_BOX_LABEL: 'a' })
    expect(started.events).toMatchObject([{ msg: 'started', container: 'test-box' }])
  })
})
