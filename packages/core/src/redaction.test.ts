import { describe, expect, it } from 'vitest'
import { redactionOf } from './redaction.ts'

describe('a redaction', () => {
  it('takes out what was secret from the start', () => {
    expect(redactionOf(['hunter2']).redact('a hunter2 b')).toBe('a [redacted] b')
  })

  it('takes out what became known later, from then on', () => {
    const { redact, hide } = redactionOf(['hunter2'])
    expect(redact('token')).toBe('token')
    hide('token')
    expect(redact('hunter2 token')).toBe('[redacted] [redacted]')
  })

  it('takes nothing out for an empty secret', () => {
    const { redact, hide } = redactionOf([])
    hide('')
    expect(redact('all is well')).toBe('all is well')
  })

  it('keeps the last hundred, and those from the start', () => {
    const { redact, hide } = redactionOf(['first'])
    for (let index = 0; index <= 100; index++) hide(`token-${index};`)
    expect(redact('token-0;')).toBe('token-0;')
    expect(redact('token-1; token-100; first')).toBe('[redacted] [redacted] [redacted]')
  })

  it('counts one that is hidden again among the last', () => {
    const { redact, hide } = redactionOf([])
    for (let index = 0; index < 100; index++) hide(`token-${index};`)
    hide('token-0;')
    hide('token-100;')
    expect(redact('token-0; token-1;')).toBe('[redacted] token-1;')
  })
})
