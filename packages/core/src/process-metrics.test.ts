import { open } from 'node:fs/promises'
import { Registry } from '@prometheus-io/client'
import { describe, expect, it } from 'vitest'
import { collectProcessMetrics } from './process-metrics.ts'

/** What a scrape says, by name. */
function scraper() {
  const registry = new Registry()
  collectProcessMetrics(registry)
  return async (name: string): Promise<number> => {
    const line = (await registry.metrics()).split('\n').find((each) => each.startsWith(`${name} `))
    return Number(line?.split(' ')[1])
  }
}

describe('the process says', () => {
  it('how much CPU time it has spent, which never falls', async () => {
    const scrape = scraper()
    const before = await scrape('process_cpu_seconds_total')
    for (const end = Date.now() + 50; Date.now() < end; );
    expect(before).toBeGreaterThan(0)
    expect(await scrape('process_cpu_seconds_total')).toBeGreaterThan(before)
  })

  it('when it started', async () => {
    const started = Date.now() / 1000 - process.uptime()
    expect(await scraper()('process_start_time_seconds')).toBeCloseTo(started, 0)
  })

  it.each([
    'process_cpu_user_seconds_total',
    'process_resident_memory_bytes',
    'nodejs_heap_size_total_bytes',
    'nodejs_heap_size_used_bytes',
    'nodejs_external_memory_bytes',
  ])('%s', async (name) => {
    expect(await scraper()(name)).toBeGreaterThan(0)
  })

  it('how busy its event loop was, from 0 to 1', async () => {
    const share = await scraper()('nodejs_eventloop_utilization_ratio')
    expect(share).toBeGreaterThanOrEqual(0)
    expect(share).toBeLessThanOrEqual(1)
  })

  describe.skipIf(process.platform !== 'linux')('on Linux', () => {
    it('what it has in memory of its own, which is part of what it has', async () => {
      const scrape = scraper()
      const own = await scrape('process_private_memory_bytes')
      expect(own).toBeGreaterThan(1_000_000)
      expect(own).toBeLessThan(await scrape('process_virtual_memory_bytes'))
    })

    it('how many files it has open, and how many it may', async () => {
      const scrape = scraper()
      const before = await scrape('process_open_fds')
      const handles = await Promise.all(Array.from({ length: 20 }, () => open('/dev/null')))
      expect(await scrape('process_open_fds')).toBeGreaterThanOrEqual(before + 10)
      await Promise.all(handles.map((handle) => handle.close()))
      expect(await scrape('process_max_fds')).toBeGreaterThan(before)
    })
  })
})
