import { describe, expect, it } from 'vitest'
import { Readiness } from './gates.ts'

describe('readiness', () => {
  it('without gates is ready', () => {
    expect(new Readiness().report()).toEqual({ ready: true, gates: {}, notices: {} })
  })

  it('a gate is closed until it is opened, for the reason that was given', () => {
    const readiness = new Readiness()
    readiness.gate('upstream', 'not connected yet')
    expect(readiness.report()).toEqual({
      ready: false,
      gates: { upstream: { open: false, reason: 'not connected yet' } },
      notices: {},
    })
  })

  it('is ready when every gate is open', () => {
    const readiness = new Readiness()
    const gates = [readiness.gate('a', 'x'), readiness.gate('b', 'x')]
    for (const gate of gates) gate.open()
    expect(readiness.report().ready).toBe(true)
  })

  it('one closed gate of many makes it not ready', () => {
    const readiness = new Readiness()
    readiness.gate('a', 'x').open()
    readiness.gate('b', 'y')
    expect(readiness.report()).toMatchObject({
      ready: false,
      gates: { a: { open: true }, b: { reason: 'y' } },
    })
  })

  it('a gate may close again, for another reason', () => {
    const readiness = new Readiness()
    const gate = readiness.gate('upstream', 'not connected yet')
    gate.open()
    gate.close('the connection was lost')
    expect(readiness.report().gates['upstream']).toEqual({ open: false, reason: 'the connection was lost' })
  })

  it('an opened gate forgets its reason', () => {
    const readiness = new Readiness()
    readiness.gate('a', 'x').open()
    expect(readiness.report().gates['a']).toEqual({ open: true })
  })

  it('two gates never share a name', () => {
    const readiness = new Readiness()
    readiness.gate('a', 'x')
    expect(() => readiness.gate('a', 'y')).toThrow('gate "a" exists already')
  })

  it('a report does not change later', () => {
    const readiness = new Readiness()
    const gate = readiness.gate('a', 'x')
    const before = readiness.report()
    gate.open()
    expect(before.ready).toBe(false)
    expect(before.gates['a']).toEqual({ open: false, reason: 'x' })
  })
})

describe('a notice', () => {
  it('is in the report and leaves it ready', () => {
    const readiness = new Readiness()
    readiness.notice('certificate').set('self-signed')
    expect(readiness.report()).toEqual({ ready: true, gates: {}, notices: { certificate: 'self-signed' } })
  })

  it('does not exist before it is set', () => {
    const readiness = new Readiness()
    readiness.notice('certificate')
    expect(readiness.report().notices).toEqual({})
  })

  it('set again is replaced', () => {
    const readiness = new Readiness()
    const notice = readiness.notice('certificate')
    notice.set('self-signed')
    notice.set('ends tomorrow')
    expect(readiness.report().notices).toEqual({ certificate: 'ends tomorrow' })
  })

  it('cleared is gone', () => {
    const readiness = new Readiness()
    const notice = readiness.notice('certificate')
    notice.set('self-signed')
    notice.clear()
    expect(readiness.report().notices).toEqual({})
  })
})

describe('secrets', () => {
  const readiness = () => new Readiness((text) => text.replaceAll('hunter2', '[redacted]'))

  it('are taken out of the reasons of gates', () => {
    const state = readiness()
    state.gate('sync', 'cannot clone with hunter2').close('still not with hunter2')
    expect(JSON.stringify(state.report())).not.toContain('hunter2')
  })

  it('are taken out of what was said before they were known', () => {
    let isKnown = false
    const state = new Readiness((text) => (isKnown ? text.replaceAll('hunter2', '[redacted]') : text))
    state.gate('sync', 'cannot clone with hunter2')
    state.notice('rules').set('refused by hunter2')
    isKnown = true
    expect(state.report()).toEqual({
      ready: false,
      gates: { sync: { open: false, reason: 'cannot clone with [redacted]' } },
      notices: { rules: 'refused by [redacted]' },
    })
  })

  it('are taken out of notices', () => {
    const state = readiness()
    state.notice('rules').set('refused by hunter2')
    expect(JSON.stringify(state.report())).not.toContain('hunter2')
  })
})
