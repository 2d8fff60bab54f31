type Labels = Readonly<Record<string, string>>

/** Counts by labels, and gives Prometheus text in which their order stays the same. */
class Series {
  readonly #values = new Map<string, number>()

  add(labels: Labels, amount: number): void {
    const key = labelText(labels)
    this.#values.set(key, (this.#values.get(key) ?? 0) + amount)
  }

  lines(name: string): string[] {
    return [...this.#values]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([labels, value]) => `${name}${labels} ${value}`)
  }
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' }

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (character) => ESCAPES[character] ?? '')}"`,
  )
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

/** The metrics of git-sync v4 under its names, for dashboards that exist. */
export class LegacyMetrics {
  readonly #syncs = new Series()
  readonly #syncSeconds = new Series()
  readonly #syncDurations = new Series()
  readonly #fetches = new Series()
  readonly #askpass = new Series()
  readonly #githubApp = new Series()
  readonly #hooks = new Series()

  constructor() {
    // What has no labels is there from the beginning.
    this.#fetches.add({}, 0)
  }

  countSync(status: 'success' | 'error' | 'noop', seconds: number): void {
    this.#syncs.add({ status }, 1)
    this.#syncSeconds.add({ status }, seconds)
    this.#syncDurations.add({ status }, 1)
  }

  countFetch(): void {
    this.#fetches.add({}, 1)
  }

  countAskpass(status: 'success' | 'error'): void {
    this.#askpass.add({ status }, 1)
  }

  countGithubAppToken(status: 'success' | 'error'): void {
    this.#githubApp.add({ status }, 1)
  }

  countHookRun(name: string, status: 'success' | 'error'): void {
    this.#hooks.add({ name, status }, 1)
  }

  /** Prometheus text 0.0.4. What never happened is left out. */
  text(): string {
    return [
      ...counter('git_fetch_count_total', 'Fetches.', this.#fetches),
      ...counter('git_sync_askpass_calls', 'Calls of the askpass URL, by their result.', this.#askpass),
      ...counter('git_sync_count_total', 'Syncs, by their result: success, error or noop.', this.#syncs),
      ...family('git_sync_duration_seconds', 'summary', 'How long syncs took, by their result.', [
        ...this.#syncSeconds.lines('git_sync_duration_seconds_sum'),
        ...this.#syncDurations.lines('git_sync_duration_seconds_count'),
      ]),
      ...counter('git_sync_hook_run_count_total', 'Runs of hooks, by hook and result.', this.#hooks),
      ...counter(
        'git_sync_refresh_github_app_token_count',
        'Tokens asked of a GitHub app, by the result.',
        this.#githubApp,
      ),
    ].join('')
  }
}

const counter = (name: string, help: string, series: Series): string[] =>
  family(name, 'counter', help, series.lines(name))

function family(name: string, type: string, help: string, samples: readonly string[]): string[] {
  if (samples.length === 0) return []
  return [`# HELP ${name} ${help}\n`, `# TYPE ${name} ${type}\n`, ...samples.map((sample) => `${sample}\n`)]
}
