import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { sample, sharing } from '../test-support.ts'
import { compose } from './compose.ts'
import type { GivenParam } from './settings.ts'

interface Compose {
  readonly services: Readonly<Record<string, Service>>
  readonly secrets?: unknown
}

interface Service {
  readonly image: string
  readonly environment: Readonly<Record<string, string>>
  readonly stop_grace_period: string
  readonly [key: string]: unknown
}

function service(given: readonly GivenParam[] = []): Service {
  const { services } = parse(compose(sample, given)) as Compose
  const found = services['adapter-sample']
  if (found === undefined) throw new Error('no such service')
  return found
}

/** What compose makes of a value: `$$` is a dollar sign, any other one an expansion. */
function interpolated(value: string): string {
  expect(value.replaceAll('$$', '')).not.toContain('$')
  return value.replaceAll('$$', '$')
}

const flag = (name: string, shown: string): GivenParam => ({ name, shown, source: 'flag' })

it('is the snippet that is committed', async () => {
  await expect(compose(sample)).toMatchFileSnapshot('snapshots/compose.yaml')
})

describe('the service', () => {
  it('shares the network of the application and is as tight as the contract says', () => {
    expect(service()).toMatchObject({
      image: 'outrider/adapter-sample',
      network_mode: 'service:app',
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      restart: 'unless-stopped',
      volumes: ['./tls:/tls:ro', './etc/rules.d:/etc/rules.d:ro'],
    })
  })

  it('sets what is required, and a secret by its file', () => {
    const { environment } = service()
    expect(Object.keys(environment)).toEqual([
      'ADAPTER_SAMPLE_TARGET',
      'ADAPTER_SAMPLE_NOTE',
      'ADAPTER_SAMPLE_PASSWORD_FILE',
    ])
    expect(environment['ADAPTER_SAMPLE_PASSWORD_FILE']).toBe('/run/secrets/adapter_sample_password')
  })

  it('is given each secret that it names', () => {
    expect(service()['secrets']).toEqual(['adapter_sample_password'])
    expect(parse(compose(sample))).toMatchObject({
      secrets: { adapter_sample_password: { file: './adapter_sample_password' } },
    })
  })

  it('passes a value on as it is, whatever it holds', () => {
    const near = fc.string({ unit: fc.constantFrom(...'ab$(){}:#"\'\\ \n') })
    fc.assert(
      fc.property(fc.oneof(near, fc.string({ unit: 'binary' })), (value) => {
        expect(interpolated(service([flag('note', value)]).environment['ADAPTER_SAMPLE_NOTE'] ?? '')).toBe(
          value,
        )
      }),
    )
  })

  it('passes a number on as text', () => {
    expect(service([flag('note', '8080')]).environment['ADAPTER_SAMPLE_NOTE']).toBe('8080')
  })

  it.each([
    ['10s', '15s'],
    ['2m', '125s'],
  ])('with a drain of %s may take %s to end, so that the drain is not cut short', (drain, grace) => {
    const given = [flag('drain', drain)]
    expect(service(given).stop_grace_period).toBe(grace)
    expect(compose(sample, given)).toContain(`# Longer than the drain of ${drain},`)
  })

  it('never shows a secret that was given', () => {
    const given = [flag('token', '[redacted]')]
    expect(compose(sample, given)).not.toContain('[redacted]')
    expect(service(given)['secrets']).toEqual(['adapter_sample_password', 'adapter_sample_token'])
  })
})

it('shares a named volume with the application, which only reads it', () => {
  expect(parse(compose(sharing))).toEqual({
    services: {
      app: { volumes: ['sidecar-pages-pages:/pages:ro'] },
      'sidecar-pages': expect.objectContaining({ volumes: ['sidecar-pages-pages:/pages'] }),
    },
    volumes: { 'sidecar-pages-pages': null },
  })
})

it('adds nothing to the application with which it shares nothing', () => {
  expect(Object.keys(parse(compose(sample)).services)).toEqual(['adapter-sample'])
})

it('has the directory of each file that was given mounted', () => {
  expect(service([flag('rules', '/my $x/rules.yaml')])['volumes']).toContain('./my $$x:/my $$x:ro')
})

it('says so beside a path that nothing mounts', () => {
  expect(compose(sample, [flag('rules', 'rules.yaml')])).toContain(
    '# Nothing here mounts this path.\n      ADAPTER_SAMPLE_RULES: rules.yaml',
  )
})

it('has a place for each secret that is not set', () => {
  expect(compose(sample)).toContain('# ADAPTER_SAMPLE_TOKEN_FILE: /run/secrets/adapter_sample_token\n')
})

it('does not publish what listens on loopback', () => {
  const text = compose(sample, [flag('listen', '127.0.0.1:7000'), flag('admin', '[::1]:7001')])
  expect(text).not.toMatch(/#.*700/)
  expect(text).toMatch(/^# app\.$/m)
})

it('names the ports to publish', () => {
  expect(compose(sample, [flag('listen', ':7000')])).toContain(
    '#       - "7000:7000"\n#       - "9199:9199"\n',
  )
})

it('the application starts after one that ends by itself, which has a network of its own', () => {
  const { services } = parse(compose({ ...sample, needs: () => ({ endsByItself: true }) })) as Compose
  expect(services['app']).toMatchObject({
    depends_on: { 'adapter-sample': { condition: 'service_completed_successfully' } },
  })
  expect(services['adapter-sample']).toMatchObject({ restart: 'on-failure' })
  expect(services['adapter-sample']).not.toHaveProperty('network_mode')
})
