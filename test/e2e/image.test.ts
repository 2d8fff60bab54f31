import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { address, type Container } from '@outrider/core'
import { baseImages, definitionOf } from '@outrider/core/render'
import { type Addresses, type Fixture, onFreePorts } from '@outrider/core/testing'
import { type StartedTestContainer, Wait } from 'testcontainers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { line } from '../support/contract.ts'
import { docker, dockerResult, inspect, logOf, processStatus, RidingContainer } from '../support/docker.ts'
import { until } from '../support/program.ts'
import { containerPackages } from '../support/workspace.ts'

for (const { container, makeFixture } of await containerPackages()) {
  const image = `outrider/${container.name}`
  const base = `outrider/${container.base}`
  const { hasShell } = baseImages[container.base]

  describe(`image ${image}`, () => {
    let fixture: Fixture
    let started: StartedTestContainer | undefined

    beforeEach(async () => {
      fixture = await makeFixture()
    })
    afterEach(async () => {
      await started?.stop()
      started = undefined
      await fixture[Symbol.asyncDispose]()
    })

    /** On the host's network, so that the fixture reaches it and it reaches the fixture, as the parts of a pod do. */
    async function start(env: Readonly<Record<string, string>> = {}): Promise<StartedTestContainer> {
      const environment = { ...inImage(container, fixture), ...env }
      started = await new RidingContainer(image).withNetworkMode('host').withEnvironment(environment).start()
      return started
    }

    async function addressesOf(running: StartedTestContainer): Promise<Addresses> {
      const event = (await logOf(running)).find(({ msg }) => msg === 'started')
      const entries = Object.entries(event?.['addresses'] as Record<string, string>)
      return Object.fromEntries(entries.map(([name, text]) => [name, address.kind.parse(text)]))
    }

    line(16, 'it works as user 65532 with a read-only root, no capability and no new privilege', async () => {
      const running = await start()
      await fixture.work(await addressesOf(running))
      const status = await processStatus(running.getId())
      expect(status).toMatch(/^Uid:\s+65532\s+65532\s+65532\s+65532$/m)
      expect(status).toMatch(/^Gid:\s+65532\s+65532\s+65532\s+65532$/m)
      expect(status).toMatch(/^CapEff:\s+0+$/m)
      expect(status).toMatch(/^NoNewPrivs:\s+1$/m)
      expect(await inspect(running.getId(), '.HostConfig.ReadonlyRootfs')).toBe(true)
    })

    line(12, 'as process 1 it finishes the work in hand after SIGTERM and exits with 0', async () => {
      const running = await start()
      const work = await fixture.beginWork(await addressesOf(running))
      await docker('kill', '--signal', 'SIGTERM', running.getId())
      await until('the drain', async () => (await logOf(running)).some(({ msg }) => msg === 'draining'))
      await work.finish()
      expect(await docker('wait', running.getId())).toBe('0')
    })

    line(10, '--help, --version, --print, --probe and its commands work in the image', async () => {
      expect((await docker('run', '--rm', image, '--help')).startsWith(`${container.name}: `)).toBe(true)
      expect(await docker('run', '--rm', image, '--version')).toContain(container.name)
      for (const kind of ['pod', 'compose', 'env', 'schema']) {
        expect(await docker('run', '--rm', image, '--print', kind)).toContain(container.name)
      }
      for (const name of Object.keys(container.commands)) {
        expect(await docker('run', '--rm', image, name, '--help')).toContain(`${container.name} ${name}`)
      }
      const running = await start({ [`${container.prefix}ADMIN`]: '127.0.0.1:19999' })
      await fixture.work(await addressesOf(running))
      const probe = await running.exec(['/usr/bin/node', '/app/main.js', '--probe', 'ready'])
      expect(probe.exitCode).toBe(0)
    })

    if (!hasShell) {
      it('it has no shell', async () => {
        for (const shell of ['/bin/sh', '/bin/bash', '/bin/busybox']) {
          const { code } = await dockerResult('run', '--rm', '--entrypoint', shell, image, '-c', 'true')
          expect(code).toBe(127)
        }
      })
    }

    line(2, 'wrong parameters end it with exit code 2 and every problem', async () => {
      const wrong = [`${container.prefix}DRAIN=10`, `${container.prefix}X=1`]
      const settings = [...wrong, ...requiredOf(container)].flatMap((setting) => ['-e', setting])
      const run = await dockerResult('run', '--rm', ...settings, image)
      expect(run.code).toBe(2)
      expect(run.stderr.trim().split('\n')).toHaveLength(2)
    })

    line(2, 'wrong parameters end it in under a second', async () => {
      const times: number[] = []
      for (let round = 0; round < 5; round++) {
        const id = await docker('create', '-e', `${container.prefix}DRAIN=10`, image)
        await dockerResult('start', '--attach', id)
        const [begun, ended] = await Promise.all(
          ['StartedAt', 'FinishedAt'].map((at) => inspect(id, `.State.${at}`)),
        )
        times.push(Date.parse(String(ended)) - Date.parse(String(begun)))
        await docker('rm', '--volumes', id)
      }
      expect(Math.min(...times)).toBeLessThan(1000)
    })

    line(19, 'its label carries the definition, its settings are those of the Dockerfile', async () => {
      expect(
        await docker('inspect', '--format', '{{index .Config.Labels "io.outrider.definition"}}', image),
      ).toBe(definitionOf(container))
      const config = (await inspect(image, '.Config')) as Record<string, unknown>
      expect(config).toMatchObject({ User: '65532:65532', StopSignal: 'SIGTERM' })
      expect(config['Volumes'] ?? {}).toEqual(
        Object.fromEntries(Object.keys(container.volumes).map((name) => [name, {}])),
      )
      expect(Object.keys(config['ExposedPorts'] as object)).toContain(`${container.adminPort}/tcp`)
    })

    it('its HEALTHCHECK turns healthy', async () => {
      const environment = { ...inImage(container, fixture), [`${container.prefix}ADMIN`]: '127.0.0.1:19998' }
      started = await new RidingContainer(image)
        .withNetworkMode('host')
        .withEnvironment(environment)
        .withWaitStrategy(Wait.forHealthCheck())
        .start()
      expect(await inspect(started.getId(), '.State.Health.Status')).toBe('healthy')
    })

    it('it adds at most 1 MiB to its base, which others share', async () => {
      const sizes = await Promise.all([base, image].map((name) => inspect(name, '.Size')))
      expect(Number(sizes[1]) - Number(sizes[0])).toBeLessThanOrEqual(2 ** 20)
      await expectToStandOn(base, image)
    })

    it('idle it keeps at most 30 MiB of private memory', async () => {
      const running = await start()
      await fixture.work(await addressesOf(running))
      const anonymous = /^RssAnon:\s+(\d+) kB$/m.exec(await processStatus(running.getId()))?.[1]
      expect(Number(anonymous)).toBeLessThanOrEqual(30 * 1024)
    })

    // A figure of the contract that is a time: the best of five, so that a busy machine does not fail it.
    line(11, 'ready within 500 ms of its start', async () => {
      const times: number[] = []
      for (let round = 0; round < 5; round++) {
        const running = await start()
        const event = (await logOf(running)).find(({ msg }) => msg === 'started')
        const begun = Date.parse(String(await inspect(running.getId(), '.State.StartedAt')))
        times.push(Date.parse(String(event?.['time'])) - begun)
        await running.stop()
        started = undefined
      }
      expect(Math.min(...times)).toBeLessThan(500)
    })
  })
}

it('the base image has certificates and time zones, and no shell or package manager', async () => {
  const node = (script: string) =>
    docker('run', '--rm', '--entrypoint', '/usr/bin/node', 'outrider/base', '--eval', script)
  const look = (paths: string[]) =>
    node(`console.log(${JSON.stringify(paths)}.map((path) => fs.existsSync(path)).join())`)
  expect(await look(['/etc/ssl/certs/ca-certificates.crt', '/usr/share/zoneinfo/Europe/Berlin'])).toBe(
    'true,true',
  )
  expect(await look(['/bin/sh', '/usr/bin/apt', '/usr/bin/dpkg'])).toBe('false,false,false')
  expect(await node('console.log(process.getuid())')).toBe('65532')
})

describe('the base image with git', () => {
  const tight = [
    '--rm',
    '--read-only',
    '--cap-drop=ALL',
    '--security-opt=no-new-privileges',
    '--network=none',
  ]
  /** Runs a script as a pod would, with a volume at /git. */
  const script = (text: string, ...options: string[]) =>
    docker('run', ...tight, '--volume=/git', ...options, 'outrider/git', 'sh', '-ec', text)

  it('stands on the common base', () => expectToStandOn('outrider/base', 'outrider/git'))

  it('has git, OpenSSH, GnuPG, a shell and Node for user git-sync, who is 65532', async () => {
    expect(await script('id -un; id -u; id -g; echo $HOME')).toBe('git-sync\n65532\n65532\n/tmp')
    expect(await script('git --version')).toMatch(/^git version 2\./)
    expect(await script('ssh -V 2>&1')).toMatch(/^OpenSSH_/)
    expect(await script('gpg --version')).toMatch(/^gpg \(GnuPG\) /)
    expect(await script('ssh-keygen -q -t ed25519 -N "" -f /git/key; cat /git/key.pub')).toMatch(
      /^ssh-ed25519 /,
    )
    expect(await script('node --print 1+1; /usr/bin/env bash -c "echo $0"')).toBe('2\nsh')
  })

  it('has each library that its programs need', async () => {
    const programs = '/usr/bin/* /usr/lib/git-core/git-remote-*'
    const needed = await script(`for program in ${programs}; do
      case $(head -c 4 $program | tail -c 3) in ELF) LD_TRACE_LOADED_OBJECTS=1 $program; esac
    done`)
    expect(needed).toMatch(/libcurl-gnutls\.so\.4 => \//)
    expect(needed).not.toContain('not found')
  })

  it('has the licence of each package that something in it is from', async () => {
    const packages = (await script('cd /usr/share/doc; ls -d */copyright')).split('\n')
    const from = [
      'bash',
      'busybox',
      'git',
      'gpg',
      'openssh-client',
      'socat',
      'tini',
      'libcurl3-gnutls',
      'node',
    ]
    expect(packages).toEqual(expect.arrayContaining(from.map((name) => `${name}/copyright`)))
  })

  it('git works on submodules, which is a script, with a read-only root', async () => {
    const status = await script(`
      cd /git
      export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
      git init -q inner
      git -C inner commit -q --allow-empty -m first
      git init -q outer
      cd outer
      git -c protocol.file.allow=always submodule --quiet add /git/inner part
      git commit -q -m second
      git clone -q . ../copy
      cd ../copy
      git -c protocol.file.allow=always submodule --quiet update --init --recursive
      git submodule status`)
    expect(status).toMatch(/^[0-9a-f]{40} part \(heads\/\w+\)$/)
  })

  it('a script of git can say what is wrong', async () => {
    const { stderr } = await dockerResult(
      'run',
      ...tight,
      '--volume=/git',
      '--workdir=/git',
      'outrider/git',
      'git',
      'submodule',
      'status',
    )
    expect(stderr).toContain('not a git repository')
    expect(await script('git init -q --bare /git; cd /git; git submodule status 2>&1 || true')).toMatch(
      /git-submodule cannot be used without a working tree/,
    )
  })

  it('a new repository has no hooks', async () => {
    expect(await script('git init -q /git; ls /git/.git; ls /git/.git/info')).toBe(
      'HEAD\nbranches\nconfig\ndescription\ninfo\nobjects\nrefs\nexclude',
    )
  })

  it('git takes signatures of SSH for good, and only those of who may sign', async () => {
    const verified = await script(`
      cd /git
      export TMPDIR=/git GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
      ssh-keygen -q -t ed25519 -N "" -f key
      git init -q tree
      cd tree
      git config gpg.format ssh
      git config user.signingkey /git/key
      git config gpg.ssh.allowedSignersFile /git/signers
      git commit -q -S --allow-empty -m first
      echo "a@b $(cat /git/key.pub)" > /git/signers
      git verify-commit HEAD 2>&1
      echo > /git/signers
      git verify-commit HEAD 2>&1 || echo refused`)
    expect(verified).toMatch(/^Good "git" signature for a@b with ED25519 key /)
    expect(verified).toMatch(/\nrefused$/)
  })

  it('GnuPG verifies a signature without an agent', async () => {
    const home = await mkdtemp(join(tmpdir(), 'gpg-'))
    const gpg = (...args: string[]) => execFileSync('gpg', ['--batch', '--quiet', '--homedir', home, ...args])
    try {
      gpg('--passphrase', '', '--quick-gen-key', 'a@b', 'ed25519', 'sign', 'never')
      await mkdir(join(home, 'out'))
      await writeFile(join(home, 'out/text'), 'something')
      gpg('--detach-sign', join(home, 'out/text'))
      gpg('--output', join(home, 'out/key'), '--export', 'a@b')
      const verified = script(
        'export GNUPGHOME=/git/keys; mkdir -m 700 $GNUPGHOME; gpg -q --batch --no-autostart --import /out/key 2>&1; gpg --verify /out/text.sig 2>&1',
        `--volume=${home}/out:/out:ro`,
      )
      expect(await verified).toContain('Good signature from "a@b"')
    } finally {
      execFileSync('gpgconf', ['--homedir', home, '--kill', 'all'])
      await rm(home, { recursive: true })
    }
  })

  it('any user has a name and a home, so that SSH works for it', async () => {
    const options = ['--user=4242:0']
    expect(await script('id -un; echo $HOME', ...options)).toBe('uid-4242\n/tmp')
    expect(await script('ssh -o BatchMode=yes -p 1 127.0.0.1 2>&1 || true', ...options)).toMatch(
      /Connection refused$/,
    )
  })

  it('any user in its group can write into /git, for the others of that group', async () => {
    const made = await script(
      'umask 002; mkdir /git/a; stat -c "%u %g %A" /git/a',
      '--user=4242:0',
      '--group-add=65532',
    )
    expect(made).toBe('4242 65532 drwxrwsr-x')
  })

  it('nobody can change a file of it or become somebody else by one', async () => {
    const files = 'find / -xdev -path /root -prune -o -type f'
    expect(await script(`${files} -perm -0002 -print`)).toBe('')
    expect(await script(`${files} -perm /6000 -print`)).toBe('')
  })

  it('process 1 is an init: it reaps orphans and ends with the exit code of its program', async () => {
    const orphans = '(sleep 0.1; touch /git/over) & true'
    const left = await script(`
      sh -c '${orphans}'
      until [ -e /git/over ]; do sleep 0.1; done
      until ! grep -l "^State:.Z" /proc/[0-9]*/status 2>/dev/null; do sleep 0.1; done
      cat /proc/1/comm`)
    expect(left.split('\n').at(-1)).toBe('tini')
    expect((await dockerResult('run', ...tight, 'outrider/git', 'sh', '-c', 'exit 7')).code).toBe(7)
  })
})

/** The layers of an image begin with those of its base. */
async function expectToStandOn(base: string, image: string): Promise<void> {
  const layers = await Promise.all([base, image].map((name) => inspect(name, '.RootFS.Layers')))
  const [below, all] = layers as [string[], string[]]
  expect(all.slice(0, below.length)).toEqual(below)
}

/** On free ports with what its fixture needs. */
const inImage = (container: Container, { env, places = [] }: Fixture): Record<string, string> =>
  Object.fromEntries(
    Object.entries({ ...onFreePorts(container), ...env }).filter(([variable]) => !places.includes(variable)),
  )

/** What must be set of a container, with examples. */
const requiredOf = ({ params }: Container): string[] =>
  params
    .filter(({ facts }) => facts.default === undefined && !facts.optional)
    .map(({ variable, facts }) => `${variable}=${facts.example ?? 'a-secret'}`)
