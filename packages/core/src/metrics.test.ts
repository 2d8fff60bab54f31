import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defineContainer } from './container.ts'
import { counter, gauge, histogram, MetricRegistry, metricPrefix, toOpenMetrics } from './metrics.ts'
import { startContainer } from './testing.ts'
import { version } from './version.ts'

const specs = {
  requests: counter('requests_total', 'Requests, by "code" and \\ path.', ['code', 'path']),
  drops: counter('drops_total', 'Dropped.'),
  open: gauge('open_connections', 'Open.'),
  took: histogram('request_duration_seconds', 'Duration.', ['code'], [0.1, 1]),
}

const box = defineContainer({
  name: 'test-box',
  pattern: 'sidecar',
  summary: 'Counts.',
  contract: [],
  admin: 9999,
  params: {},
  metrics: specs,
  async start({ metrics, onScrape }) {
    metrics.requests.inc({ code: '2xx', path: 'a"b\\c\nd_total' }, 3)
    metrics.drops.inc()
    metrics.took.observe({ code: '2xx' }, 0.5)
    let scrapes = 0
    onScrape(() => metrics.open.set(++scrapes))
    return { async [Symbol.asyncDispose]() {} }
  },
})

const openMetrics = { accept: 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3,*/*;q=0.2' }

async function scrape(headers: Record<string, string> = {}) {
  await using started = await startContainer(box)
  const response = await started.ask('/metrics', { headers })
  return { type: response.headers.get('content-type'), lines: (await response.text()).split('\n') }
}

const registered = () => {
  const registry = new MetricRegistry('test-box')
  return { registry, metrics: registry.create(specs) }
}

describe('names', () => {
  it('begin with the container', () => {
    expect(metricPrefix('sidecar-https')).toBe('outrider_sidecar_https_')
  })

  it.each([
    ['# HELP outrider_test_box_drops_total Dropped.'],
    ['# TYPE outrider_test_box_drops_total counter'],
    ['outrider_test_box_drops_total 1'],
    ['# TYPE outrider_test_box_open_connections gauge'],
    ['# TYPE outrider_test_box_request_duration_seconds histogram'],
    ['outrider_test_box_request_duration_seconds_bucket{le="0.1",code="2xx"} 0'],
    ['outrider_test_box_request_duration_seconds_bucket{le="1",code="2xx"} 1'],
    ['outrider_test_box_request_duration_seconds_bucket{le="+Inf",code="2xx"} 1'],
    ['outrider_test_box_request_duration_seconds_count{code="2xx"} 1'],
    ['outrider_test_box_requests_total{code="2xx",path="a\\"b\\\\c\\nd_total"} 3'],
  ])('%s', async (line) => {
    expect((await scrape()).lines).toContain(line)
  })
})

describe('a metric', () => {
  it.each(['outrider_test_box_drops_total 0', 'outrider_test_box_open_connections 0'])(
    'without labels is there before anything happened: %s',
    async (line) => {
      const { registry } = registered()
      expect((await registry.text()).split('\n')).toContain(line)
    },
  )

  it('refuses a label that was not declared', () => {
    const { metrics } = registered()
    // @ts-expect-error not declared, so it does not compile either
    expect(() => metrics.requests.inc({ status: '2xx' })).toThrow('status')
  })

  it('of one container is none of another in the same process', async () => {
    const { metrics } = registered()
    const other = registered()
    metrics.drops.inc(7)
    expect(await other.registry.text()).toContain('outrider_test_box_drops_total 0')
  })

  it('may be brought up to date before each scrape', async () => {
    await using started = await startContainer(box)
    await started.ask('/metrics')
    expect(await (await started.ask('/metrics')).text()).toContain('outrider_test_box_open_connections 2')
  })
})

describe('of the process there are', () => {
  it.each([
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'nodejs_eventloop_utilization_ratio',
  ])('%s', async (name) => {
    expect((await scrape()).lines).toContainEqual(expect.stringMatching(`^${name} `))
  })

  it('the versions of the container and of Node', async () => {
    expect((await scrape()).lines).toContain(
      `outrider_build_info{container="test-box",version="${version}",node="${process.version}"} 1`,
    )
  })
})

describe('the answer', () => {
  it('is Prometheus text 0.0.4 by default', async () => {
    expect((await scrape()).type).toBe('text/plain; version=0.0.4; charset=utf-8')
  })

  it('is OpenMetrics for who prefers it', async () => {
    expect((await scrape(openMetrics)).type).toBe(
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
    )
  })

  it('ends with # EOF in OpenMetrics', async () => {
    expect((await scrape(openMetrics)).lines.slice(-2)).toEqual(['# EOF', ''])
  })

  it('names a family of counters without _total in OpenMetrics', async () => {
    const { lines } = await scrape(openMetrics)
    expect(lines).toContain('# TYPE outrider_test_box_drops counter')
    expect(lines).toContain('# HELP outrider_test_box_drops Dropped.')
  })

  // The client library renames counters inside the registry when it writes OpenMetrics.
  it('keeps _total at the samples of counters, however often the formats alternate', async () => {
    await using started = await startContainer(box)
    for (let round = 0; round < 10; round++) {
      const headers: Record<string, string> = round % 2 === 0 ? {} : openMetrics
      const lines = (await (await started.ask('/metrics', { headers })).text()).split('\n')
      expect(lines).toContain('outrider_test_box_drops_total 1')
      expect(lines).toContain(`# TYPE outrider_test_box_drops${round % 2 === 0 ? '_total' : ''} counter`)
    }
  })
})

describe('toOpenMetrics', () => {
  it('touches no family but those of counters', () => {
    const gaugeCalledTotal = '# HELP jobs_total Jobs.\n# TYPE jobs_total gauge\njobs_total 1\n'
    expect(toOpenMetrics(gaugeCalledTotal)).toBe(`${gaugeCalledTotal}# EOF\n`)
  })

  it('drops blank lines, which OpenMetrics forbids', () => {
    expect(toOpenMetrics('a 1\n\nb 2\n')).toBe('a 1\nb 2\n# EOF\n')
  })

  it('renames a family whose help comes before its type', () => {
    expect(toOpenMetrics('# HELP a_total A.\n# TYPE a_total counter\na_total 1\n')).toBe(
      '# HELP a A.\n# TYPE a counter\na_total 1\n# EOF\n',
    )
  })

  it('renames a family without help text', () => {
    expect(toOpenMetrics('# HELP a_total\n# TYPE a_total counter\n')).toBe(
      '# HELP a\n# TYPE a counter\n# EOF\n',
    )
  })

  it('never changes a sample, and always ends with # EOF', () => {
    const line = fc.constantFrom(
      'a_total 1',
      'a_total{x="# TYPE b_total counter"} 2',
      '',
      '# TYPE a_total counter',
      '# HELP a_total x',
      '# TYPE b gauge',
    )
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        const samples = (all: readonly string[]) => all.filter((each) => each !== '' && !each.startsWith('#'))
        const open = toOpenMetrics(`${lines.join('\n')}\n`).split('\n')
        expect(samples(open)).toEqual(samples(lines))
        expect(open.slice(-2)).toEqual(['# EOF', ''])
      }),
    )
  })
})
