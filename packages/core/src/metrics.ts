import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client'
import { collectProcessMetrics } from './process-metrics.ts'
import { version } from './version.ts'

/** A metric as a definition declares it; its name gets the container's prefix. */
export type MetricSpec<L extends string = string> =
  | SpecOf<'counter', L>
  | SpecOf<'gauge', L>
  | HistogramSpec<L>

export interface SpecOf<T extends string, L extends string> {
  readonly type: T
  readonly name: string
  readonly help: string
  readonly labels: readonly L[]
}

export interface HistogramSpec<L extends string> extends SpecOf<'histogram', L> {
  readonly buckets: readonly number[]
}

export type MetricSpecs = Readonly<Record<string, MetricSpec>>

export type Metrics<M extends MetricSpecs> = {
  readonly [K in keyof M]: M[K] extends { type: infer T; labels: readonly (infer L extends string)[] }
    ? T extends 'counter'
      ? Counter<L>
      : T extends 'gauge'
        ? Gauge<L>
        : Histogram<L>
    : never
}

/**
 * `name` ends in `_total` (Prometheus naming practice). The labels are never inferred from where the result goes: a definition
 * takes any label there, and so would a metric without labels.
 */
export function counter<const L extends string = never>(
  name: `${string}_total`,
  help: string,
  labels: readonly L[] = [],
): SpecOf<'counter', NoInfer<L>> {
  return { type: 'counter', name, help, labels }
}

export function gauge<const L extends string = never>(
  name: string,
  help: string,
  labels: readonly L[] = [],
): SpecOf<'gauge', NoInfer<L>> {
  return { type: 'gauge', name, help, labels }
}

/** `buckets` are upper bounds in the unit that the name ends in, seconds or bytes. */
export function histogram<const L extends string = never>(
  name: `${string}_seconds` | `${string}_bytes`,
  help: string,
  labels: readonly L[],
  buckets: readonly number[],
): HistogramSpec<NoInfer<L>> {
  return { type: 'histogram', name, help, labels, buckets }
}

/** `outrider_sidecar_https_`; frozen once released. */
export const metricPrefix = (container: string): string => `outrider_${container.replaceAll('-', '_')}_`

/** The metrics of one container and of its process. */
export class MetricRegistry {
  readonly #registry = new Registry()
  readonly #prefix: string
  readonly #updates: (() => void)[] = []

  constructor(container: string) {
    this.#prefix = metricPrefix(container)
    collectProcessMetrics(this.#registry)
    const labels = { container, version, node: process.version }
    new Gauge({
      name: 'outrider_build_info',
      help: 'Always 1; the labels say what runs.',
      labelNames: Object.keys(labels),
      registers: [this.#registry],
    }).set(labels, 1)
  }

  /** Creates the declared metrics, each at zero where it has no labels. */
  create<M extends MetricSpecs>(specs: M): Metrics<M> {
    return Object.fromEntries(
      Object.entries(specs).map(([key, spec]) => [key, this.#metric(spec)]),
    ) as Metrics<M>
  }

  #metric(spec: MetricSpec): Counter | Gauge | Histogram | PlainHistogram {
    const base = {
      name: this.#prefix + spec.name,
      help: spec.help,
      labelNames: spec.labels,
      registers: [this.#registry],
    }
    if (spec.type === 'counter') return new Counter(base)
    if (spec.type === 'gauge') return new Gauge(base)
    if (spec.labels.length === 0)
      return new PlainHistogram(base.name, base.help, spec.buckets, this.#registry)
    return new Histogram({ ...base, buckets: [...spec.buckets] })
  }

  /** Calls `update` before each scrape: for gauges that mirror what is counted elsewhere. */
  onScrape(update: () => void): void {
    this.#updates.push(update)
  }

  /** Prometheus text format 0.0.4. */
  text(): Promise<string> {
    for (const update of this.#updates) update()
    return this.#registry.metrics()
  }

  async openMetrics(): Promise<string> {
    return toOpenMetrics(await this.text())
  }
}

/**
 * A histogram without labels that only counts until it is asked: the client's own looks up its labels and its buckets by
 * name for each value, which on a data path costs as much as a system call.
 */
class PlainHistogram extends Histogram<string> {
  readonly #name: string
  readonly #help: string
  readonly #bounds: readonly number[]
  /** One more than there are bounds: the last one is for values above all of them. */
  readonly #counts: number[]
  #sum = 0

  constructor(name: string, help: string, buckets: readonly number[], registry: Registry) {
    super({ name, help, buckets: [...buckets], registers: [registry] })
    this.#name = name
    this.#help = help
    this.#bounds = buckets
    this.#counts = [...buckets, Number.POSITIVE_INFINITY].map(() => 0)
    // The client sets its own on each object.
    this.observe = (value: unknown) => this.#count(Number(value))
  }

  #count(value: number): void {
    let index = 0
    while (index < this.#bounds.length && value > (this.#bounds[index] ?? 0)) index += 1
    this.#counts[index] = (this.#counts[index] ?? 0) + 1
    this.#sum += value
  }

  override get(): ReturnType<Histogram<string>['get']> {
    let total = 0
    const values = this.#counts.map((count, index) => {
      total += count
      const labels = { le: String(this.#bounds[index] ?? '+Inf') }
      return { metricName: `${this.#name}_bucket`, labels, value: total }
    })
    const ends = [
      { metricName: `${this.#name}_sum`, labels: {}, value: this.#sum },
      { metricName: `${this.#name}_count`, labels: {}, value: total },
    ]
    return Promise.resolve({
      name: this.#name,
      help: this.#help,
      type: 'histogram',
      aggregator: 'sum',
      collect: () => undefined,
      values: [...values, ...ends],
    })
  }

  getForPromString(): ReturnType<Histogram<string>['get']> {
    return this.get()
  }
}

export const textContentType = Registry.PROMETHEUS_CONTENT_TYPE
export const openMetricsContentType = Registry.OPENMETRICS_CONTENT_TYPE

/**
 * Rewrites text 0.0.4 as OpenMetrics 1.0: a counter's family goes without `_total`, blank lines go, `# EOF` comes.
 * Our own, because the client's OpenMetrics mode renames the counters inside the registry, so that the next scrape in
 * text format would lose their `_total`.
 */
export function toOpenMetrics(text: string): string {
  const lines = text.split('\n').filter((line) => line !== '')
  const counters = new Set(lines.flatMap((line) => /^# TYPE (\S+)_total counter$/.exec(line)?.[1] ?? []))
  const renamed = lines.map((line) =>
    line.replace(/^(# (?:HELP|TYPE) )(\S+)_total(?= |$)/, (whole, start: string, family: string) =>
      counters.has(family) ? start + family : whole,
    ),
  )
  return `${renamed.join('\n')}\n# EOF\n`
}
