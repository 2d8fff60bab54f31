import { describe, expect, it } from 'vitest'
import { defineContainer } from '../container.ts'
import { text } from '../kinds.ts'
import { aged, sample, sharing } from '../test-support.ts'
import { definitionOf } from './definition.ts'
import { dockerfile } from './dockerfile.ts'

const lines = dockerfile(sample, '1.2.3').split('\n')

/** A word of a Dockerfile without its quotes, as BuildKit reads it; an expansion fails the test. */
function unquoted(word: string): string {
  if (word.startsWith("'")) {
    expect(word.slice(1, -1)).not.toContain("'")
    return word.slice(1, -1)
  }
  const inner = word.slice(1, -1)
  expect(inner.replace(/\\["\\$]/g, '')).not.toMatch(/["$]/)
  return inner.replace(/\\(["\\$])/g, '$1')
}

function label(name: string): string {
  const line = lines.find((each) => each.startsWith(`LABEL ${name}=`))
  return unquoted(line?.slice(`LABEL ${name}=`.length) ?? '')
}

it('is the Dockerfile that is committed', async () => {
  await expect(dockerfile(sample, '1.2.3')).toMatchFileSnapshot('snapshots/Dockerfile')
})

describe('the Dockerfile', () => {
  it('says that it is generated, and from what', () => {
    expect(lines[0]).toBe(
      '# Generated from packages/adapter-sample/src/container.ts by "npm run generate"; do not edit.',
    )
  })

  it('holds nothing but instructions and comments, whatever the defaults hold', () => {
    for (const line of lines) {
      expect(line).toMatch(
        /^($|#|ARG |FROM |COPY |EXPOSE |VOLUME |LABEL |USER |STOPSIGNAL |HEALTHCHECK | {2}CMD |ENTRYPOINT )/,
      )
    }
  })

  it('sets no variable: every one is a comment with its default', () => {
    expect(lines).not.toContainEqual(expect.stringMatching(/^ENV/))
    expect(lines).toContain('#ENV ADAPTER_SAMPLE_LIMIT=64KiB')
  })

  it('says which variable is required, and that a secret comes by file', () => {
    expect(lines).toContain('#ENV ADAPTER_SAMPLE_TARGET= (required)')
    expect(lines).toContain('#ENV ADAPTER_SAMPLE_PASSWORD_FILE= (required)')
  })

  it('names the file of a secret once, where that is a parameter', () => {
    expect(dockerfile(aged, '1').match(/^#ENV AGED_BOX_PASSWORD.*$/gm)).toEqual([
      '#ENV AGED_BOX_PASSWORD_FILE=',
    ])
  })

  it('exposes the default ports', () => {
    expect(lines.filter((line) => line.startsWith('EXPOSE'))).toEqual(['EXPOSE 8443', 'EXPOSE 9199'])
  })

  it('declares the volumes', () => {
    expect(lines.filter((line) => line.startsWith('VOLUME'))).toEqual([
      'VOLUME ["/tls"]',
      'VOLUME ["/etc/rules.d"]',
    ])
  })

  it('runs as user 65532, without a shell', () => {
    expect(lines).toContain('USER 65532:65532')
    expect(lines).toContain(
      'ENTRYPOINT ["/usr/bin/node","--max-semi-space-size=2","--v8-pool-size=1","/app/main.js"]',
    )
    expect(lines).toContain('  CMD ["/usr/bin/node","/app/main.js","--probe","ready"]')
  })

  it('stands on the common base, or on the one that the definition names', () => {
    expect(lines[1]).toBe('ARG BASE_IMAGE=outrider/base:latest')
    expect(dockerfile(sharing, '1')).toContain('\nARG BASE_IMAGE=outrider/git:latest\nFROM $BASE_IMAGE\n')
  })

  it('of a container that starts programs has an init that reaps what they leave behind', () => {
    const own = dockerfile(sharing, '1')
    expect(own).toContain('\nENTRYPOINT ["/usr/bin/tini","-s","--","/usr/bin/node",')
    expect(own).toContain('  CMD ["/usr/bin/node","/app/main.js","--probe","ready"]\n')
  })

  it('declares also the volume that it shares with the application', () => {
    expect(dockerfile(sharing, '1')).toContain('# The pages.\nVOLUME ["/pages"]\n')
  })

  it('carries the definition, whole', () => {
    expect(JSON.parse(label('io.outrider.definition'))).toEqual(JSON.parse(definitionOf(sample)))
  })

  it('carries the summary as it is, whatever it holds', () => {
    expect(label('org.opencontainers.image.description')).toBe(sample.summary)
  })

  it('carries the version', () => {
    expect(label('org.opencontainers.image.version')).toBe('1.2.3')
  })

  it('a line break in a help text begins no instruction', () => {
    const hostile = defineContainer({
      name: 'test-box',
      pattern: 'sidecar',
      summary: 'x',
      contract: [],
      admin: 1,
      params: { a: text('one\nRUN two', { default: 'x\nRUN y' }) },
      volumes: { '/v': 'three\nRUN four' },
      metrics: {},
      start: async () => ({ async [Symbol.asyncDispose]() {} }),
    })
    expect(dockerfile(hostile, '1')).not.toMatch(/^RUN/m)
  })
})
