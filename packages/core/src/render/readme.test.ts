import { describe, expect, it } from 'vitest'
import { aged, sample } from '../test-support.ts'
import { compose } from './compose.ts'
import { pod } from './pod.ts'
import { readme } from './readme.ts'

const page = readme(sample, '\n## Notes\n\nWritten by hand.\n')

/** The fenced blocks of a language. */
const fenced = (language: string) =>
  [...page.matchAll(new RegExp(`\`\`\`${language}\n([^]*?)\n\`\`\``, 'g'))].map(([, body = '']) => body)

const row = (start: string) => page.split('\n').find((line) => line.startsWith(`| ${start}`)) ?? ''

/** What a POSIX shell makes of a command without expansions. */
const words = (command: string) =>
  [...command.matchAll(/(?:'[^']*'|\\'|[^\s'\\])+/g)].map(([word]) =>
    word.replace(/'([^']*)'|\\(')/g, (_, quoted?: string, escaped?: string) => quoted ?? escaped ?? ''),
  )

it('is the page that is committed', async () => {
  await expect(page).toMatchFileSnapshot('snapshots/README.md')
})

describe('the README', () => {
  it('ends with the notes that are written by hand', () => {
    expect(page.endsWith('\n\n## Notes\n\nWritten by hand.\n')).toBe(true)
  })

  it('shows the snippets that --print gives', () => {
    expect(fenced('yaml')).toEqual([compose(sample).trimEnd(), pod(sample).trimEnd()])
  })

  it('keeps the columns of its tables, whatever the cells hold', () => {
    for (const table of page.match(/(^\|.*\n)+/gm) ?? []) {
      const bars = table
        .trimEnd()
        .split('\n')
        .map((line) => line.match(/(?<!\\)\|/g)?.length)
      expect(new Set(bars).size).toBe(1)
    }
  })

  it('shows a choice in a table as it is typed', () => {
    expect(row('`ADAPTER_SAMPLE_MODE`')).toContain('| fast\\|safe | `safe` |')
  })

  it('gives a secret no flag, but a file', () => {
    expect(page).not.toContain('--password')
    expect(row('`ADAPTER_SAMPLE_PASSWORD`')).toBe(
      '| `ADAPTER_SAMPLE_PASSWORD` | - | text | **required** | The password of the target. Secret: also by `ADAPTER_SAMPLE_PASSWORD_FILE`. |',
    )
  })

  it('lists advanced parameters apart', () => {
    const [common = '', advanced = ''] = page.split('### Advanced parameters')
    expect(common).not.toContain('`ADAPTER_SAMPLE_LIMIT`')
    expect(advanced).toContain('`ADAPTER_SAMPLE_LIMIT`')
  })

  it('gives a command that a shell passes on as it is meant', () => {
    const command = fenced('sh').find((body) => body.startsWith('docker run')) ?? ''
    const given = words(command)
    expect(given).toContain(`ADAPTER_SAMPLE_NOTE=it's $5 & $(X): "yes" #1`)
    expect(given).toContain('ADAPTER_SAMPLE_TARGET=http://127.0.0.1:8080')
  })

  it('takes a secret from the environment of who runs the command', () => {
    expect(fenced('sh').join('\n')).toMatch(/ -e ADAPTER_SAMPLE_PASSWORD( |$)/)
  })

  it('names the ports and what sets them', () => {
    expect(row('lines')).toBe('| lines | 8443 | `ADAPTER_SAMPLE_LISTEN` |')
    expect(row('admin')).toBe('| admin | 9199 | `ADAPTER_SAMPLE_ADMIN` |')
  })

  it('names each metric in full, with its labels', () => {
    expect(row('`outrider_adapter_sample_lines_total`')).toBe(
      '| `outrider_adapter_sample_lines_total` | counter | `outcome` | Lines sent, by outcome: sent \\| dropped. |',
    )
  })

  it('lists older names with those of today, where there are some', () => {
    const old = readme(aged, '')
    expect(old).toContain('\n### Older names\n')
    expect(old).toContain('\n| `--branch`, `OLD_BOX_BRANCH` | AGED_BOX_REF (--ref) |\n')
    expect(old).toContain('\n| `--ssh` | nothing: it is found out |\n')
    expect(page).not.toContain('Older names')
  })

  it('gives the flag of one letter, and which may be given many times', () => {
    const old = readme(aged, '')
    expect(old).toContain('| `AGED_BOX_VERBOSE` | `--verbose`, `-v` |')
    expect(old).toContain('Which keys. The flag may be given many times. |')
  })

  it('lists the pages of its admin API and its commands', () => {
    expect(row('`GET /lines`')).toBe(
      '| `GET /lines` | Each line \\| what became of it. A page, or JSON as above |',
    )
    expect(row('`match <line>...`')).toContain('Says which lines would be sent')
    expect(page).toContain('## Commands\n')
    expect(readme({ ...sample, commands: {} }, '')).not.toContain('## Commands')
  })

  it.each(sample.contract)('states the promise: %s', (line) => {
    expect(page).toContain(`\n- ${line}`)
  })
})
