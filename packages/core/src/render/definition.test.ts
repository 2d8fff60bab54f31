import { describe, expect, it } from 'vitest'
import { aged, awkward, sample } from '../test-support.ts'
import { definitionOf } from './definition.ts'

const definition = JSON.parse(definitionOf(sample)) as Record<string, unknown> & {
  readonly params: readonly Record<string, unknown>[]
  readonly metrics: readonly Record<string, unknown>[]
}
const param = (name: string) => definition.params.find((each) => each['name'] === name)

describe('the definition in an image', () => {
  it('is JSON with all that a user has to know', () => {
    expect(definition).toMatchObject({
      name: 'adapter-sample',
      pattern: 'adapter',
      summary: sample.summary,
      contract: sample.contract,
      ports: { lines: 'listen', control: 'control' },
      volumes: { '/tls': 'Holds tls.crt and tls.key.', '/etc/rules.d': 'Holds the rules.' },
      pages: { '/lines': { title: 'Lines', help: 'Each line | what became of it.' } },
      commands: { check: { usage: '', summary: 'Reads the rules.' } },
    })
  })

  it('gives each parameter with its names and facts', () => {
    expect(param('wait')).toEqual({
      name: 'wait',
      kind: 'duration',
      help: 'How long to wait for the target.',
      variable: 'ADAPTER_SAMPLE_WAIT',
      flag: '--wait',
      default: '5s',
      advanced: true,
      shared: 'POD_WAIT',
    })
  })

  it('gives a default as it is, whatever it holds', () => {
    expect(param('greeting')).toMatchObject({ default: awkward })
  })

  it('gives older and retired names', () => {
    const old = JSON.parse(definitionOf(aged)) as typeof definition
    expect(old.params.find(({ name }) => name === 'ref')).toMatchObject({
      formerly: [
        { flag: '--branch', variable: 'OLD_BOX_BRANCH' },
        { flag: '--rev', variable: 'AGED_BOX_REV' },
      ],
    })
    expect(old['retired']).toContainEqual({
      flag: '--ssh',
      takesValue: false,
      why: 'it is found out',
      refused: false,
    })
    const picky = aged.retired.map((each) => ({ ...each, refused: () => false }))
    expect(JSON.parse(definitionOf({ ...aged, retired: picky }))).toMatchObject({
      retired: picky.map(() => ({ refused: true })),
    })
    expect(definition).not.toHaveProperty('retired')
  })

  it('gives a secret no flag', () => {
    expect(param('password')).not.toHaveProperty('flag')
  })

  it('gives metrics under their full names', () => {
    expect(definition.metrics[0]).toEqual({
      name: 'outrider_adapter_sample_lines_total',
      type: 'counter',
      help: 'Lines sent, by outcome: sent | dropped.',
      labels: ['outcome'],
    })
  })

  it('has no character that a Dockerfile would take for its own', () => {
    expect(definitionOf(sample)).not.toMatch(/['$\n]/)
  })
})
