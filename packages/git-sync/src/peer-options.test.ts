import { describe, expect, test } from 'vitest'
import { peerOptions } from './peer-options.ts'

const today = peerOptions.filter(({ deprecated }) => !deprecated)

describe('the options of git-sync', () => {
  test.each([
    ['flag', peerOptions.flatMap(({ flag }) => flag ?? [])],
    [
      'variable',
      peerOptions.flatMap(({ variable, formers }) => [
        ...(variable === undefined ? [] : [variable]),
        ...formers,
      ]),
    ],
  ])('have no %s twice', (_, names) => {
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
  })

  test('have flags and variables of one shape', () => {
    for (const { flag, variable, formers } of peerOptions) {
      expect(flag ?? '--none').toMatch(/^--[a-z]+(-[a-z]+)*$/)
      expect(variable ?? 'GIT_NONE').toMatch(/^GIT_?[A-Z]+(_[A-Z]+)*$/)
      for (const former of formers) expect(former).toMatch(/^GIT_(SYNC_)?[A-Z]+(_[A-Z]+)*$/)
    }
  })

  test('of today have the variable that follows from the flag, and our parameter of that name', () => {
    for (const { flag, variable, ours } of today) {
      const name = (flag?.slice(2) ?? variable?.slice('GITSYNC_'.length) ?? '')
        .toUpperCase()
        .replaceAll('-', '_')
      if (variable !== undefined) expect(variable).toBe(`GITSYNC_${name}`)
      if (ours !== undefined) expect(ours.replaceAll(/[A-Z]/g, '_$&').toUpperCase()).toBe(name)
    }
  })

  test('of before have their successor among those of today', () => {
    for (const { deprecated, ours } of peerOptions) {
      if (deprecated && ours !== undefined) expect(today.map(({ ours }) => ours)).toContain(ours)
    }
  })

  test('of which we have none say why', () => {
    expect(peerOptions.filter(({ ours, note }) => ours === undefined && note === '')).toEqual([])
  })
})
