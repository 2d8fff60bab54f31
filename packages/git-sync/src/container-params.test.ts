import { describe, expect, it } from 'vitest'
import container from './container.ts'

const kindOf = (name: string) => {
  const param = container.params.find((each) => each.name === name)
  if (param === undefined) throw new Error(`there is no parameter ${name}`)
  return param.kind
}

const problems = (values: Readonly<Record<string, unknown>>): string[] => {
  const defaults = container.params.map(({ name, kind, facts }) => [
    name,
    facts.default === undefined ? undefined : kind.parse(facts.default),
  ])
  return [...container.check({ ...Object.fromEntries(defaults), ...values }, () => true)]
}

describe('the repository', () => {
  it.each(['git@github.com:kubernetes/git-sync.git', 'deploy.user@host:path', 'ssh://git@host/path'])(
    'has no secret as %s, where the user names an account',
    (repo) => {
      expect(kindOf('repo').show?.(repo)).toBe(repo)
      expect(kindOf('repo').secrets?.(repo)).toEqual([])
    },
  )

  it.each(['https://user:pw12345@host/x', 'https://pw12345@host/x', 'user:pw12345@host/x'])(
    'shows nothing of the credentials in %s',
    (repo) => {
      expect(kindOf('repo').show?.(repo)).not.toContain('pw12345')
      expect(kindOf('repo').secrets?.(repo)).toContain('pw12345')
    },
  )
})

it('the path of a webhook is shown nowhere, since it is the secret of many services', () => {
  const address = 'https://hooks.example.com/services/T000/B000/XXXXXXXX'
  expect(kindOf('webhookUrl').show?.(address)).toBe('https://hooks.example.com/***')
  expect(kindOf('webhookUrl').secrets?.(address)).toEqual(['/services/T000/B000/XXXXXXXX'])
})

describe('the password', () => {
  it('may end in a line break, which is not part of it', () => {
    expect(kindOf('password').parse('secret\n')).toBe('secret')
    expect(kindOf('password').secrets?.('secret\r\n')).toEqual(['secret'])
  })

  it('is one line, since git takes no other', () => {
    expect(() => kindOf('password').parse('one\ntwo')).toThrow('must be one line')
  })
})

describe('what contradicts itself', () => {
  it('the root is a directory of its own', () => {
    expect(problems({ root: '/', repo: '/x' })).toEqual([
      expect.stringMatching(/^GITSYNC_ROOT .* such as \/git$/),
    ])
  })

  it('readiness is not lost between two syncs', () => {
    expect(problems({ repo: '/x', period: 60_000, readyMaxAge: 30_000 })).toEqual([
      expect.stringMatching(/^GITSYNC_READY_MAX_AGE .* must be longer than GITSYNC_PERIOD /),
    ])
  })
})
