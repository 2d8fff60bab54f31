import { describe, expect, test } from 'vitest'
import { LegacyMetrics } from './legacy-metrics.ts'

interface Family {
  readonly type: string
  readonly samples: Record<string, number>
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*'
const VALUE = '"(?:[^"\\\\\\n]|\\\\["\\\\n])*"'
const SAMPLE = new RegExp(`^(${NAME})(\\{${NAME}=${VALUE}(?:,${NAME}=${VALUE})*\\})? (\\S+)$`)

/** Reads the text format 0.0.4, and throws at whatever its grammar does not have. */
function parse(text: string): Record<string, Family> {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line does not end')
  const families: Record<string, Family> = {}
  let described = ''
  for (const line of text.split('\n').slice(0, -1)) {
    const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (keyword === 'HELP') {
      if (name in families) throw new Error(`${name} is there twice`)
      described = name
    } else if (keyword === 'TYPE') {
      if (name !== described) throw new Error(`${name} has no help`)
      families[name] = { type: rest, samples: {} }
    } else {
      const [, sample = '', labels = '', value = ''] = SAMPLE.exec(line) ?? []
      const family = families[described]
      const ends = family?.type === 'summary' ? ['_sum', '_count'] : ['']
      if (!ends.some((end) => sample === described + end))
        throw new Error(`no sample of ${described}: ${line}`)
      if (family === undefined || sample + labels in family.samples) throw new Error(`twice: ${line}`)
      if (!Number.isFinite(Number(value))) throw new Error(`no number: ${line}`)
      family.samples[sample + labels] = Number(value)
    }
  }
  return families
}

const full = (): LegacyMetrics => {
  const metrics = new LegacyMetrics()
  metrics.countSync('success', 1.5)
  metrics.countSync('noop', 0.25)
  metrics.countSync('noop', 0.5)
  metrics.countSync('error', 1e-7)
  metrics.countFetch()
  metrics.countAskpass('success')
  metrics.countGithubAppToken('error')
  metrics.countHookRun('webhook', 'error')
  metrics.countHookRun('exechook', 'success')
  return metrics
}

describe('the metrics of git-sync v4', () => {
  test('have its names, types and labels', () => {
    expect(parse(full().text())).toEqual({
      git_sync_duration_seconds: {
        type: 'summary',
        samples: {
          'git_sync_duration_seconds_sum{status="success"}': 1.5,
          'git_sync_duration_seconds_count{status="success"}': 1,
          'git_sync_duration_seconds_sum{status="noop"}': 0.75,
          'git_sync_duration_seconds_count{status="noop"}': 2,
          'git_sync_duration_seconds_sum{status="error"}': 1e-7,
          'git_sync_duration_seconds_count{status="error"}': 1,
        },
      },
      git_sync_count_total: {
        type: 'counter',
        samples: {
          'git_sync_count_total{status="success"}': 1,
          'git_sync_count_total{status="noop"}': 2,
          'git_sync_count_total{status="error"}': 1,
        },
      },
      git_fetch_count_total: { type: 'counter', samples: { git_fetch_count_total: 1 } },
      git_sync_askpass_calls: { type: 'counter', samples: { 'git_sync_askpass_calls{status="success"}': 1 } },
      git_sync_refresh_github_app_token_count: {
        type: 'counter',
        samples: { 'git_sync_refresh_github_app_token_count{status="error"}': 1 },
      },
      git_sync_hook_run_count_total: {
        type: 'counter',
        samples: {
          'git_sync_hook_run_count_total{name="webhook",status="error"}': 1,
          'git_sync_hook_run_count_total{name="exechook",status="success"}': 1,
        },
      },
    })
  })

  test('are left out before something happened, but for the one without labels', () => {
    expect(parse(new LegacyMetrics().text())).toEqual({
      git_fetch_count_total: { type: 'counter', samples: { git_fetch_count_total: 0 } },
    })
  })

  test('stand in one order, whatever happened first', () => {
    const metrics = new LegacyMetrics()
    metrics.countHookRun('exechook', 'success')
    metrics.countHookRun('webhook', 'error')
    metrics.countGithubAppToken('error')
    metrics.countAskpass('success')
    metrics.countFetch()
    metrics.countSync('error', 1e-7)
    metrics.countSync('noop', 0.75)
    metrics.countSync('noop', 0)
    metrics.countSync('success', 1.5)
    expect(metrics.text()).toBe(full().text())
  })

  test('may have any label', () => {
    const metrics = new LegacyMetrics()
    metrics.countHookRun('a"b\\c\nd', 'success')
    expect(metrics.text()).toContain('{name="a\\"b\\\\c\\nd",status="success"} 1\n')
    expect(() => parse(metrics.text())).not.toThrow()
  })
})
