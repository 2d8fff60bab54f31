# Generated from packages/git-sync/src/container.ts by "npm run generate"; do not edit.
ARG BASE_IMAGE=outrider/git:latest
FROM $BASE_IMAGE
COPY git-sync/ /app/

# admin
EXPOSE 9102

# What is synced; the application mounts it too.
VOLUME ["/git"]
# SSH key, known hosts and cookies: ssh, known_hosts, cookie_file.
VOLUME ["/etc/git-secret"]

# What can be set, with what holds when it is not:
# What to sync: a URL of HTTP, HTTPS or SSH, user@host:path, or a local path. User and password in a URL of HTTP are used as credentials and shown nowhere.
#ENV GITSYNC_REPO= (required unless --repositories)
# Branch, tag or whole hash to sync; with a hash it is synced once.
#ENV GITSYNC_REF=HEAD
# Where all is kept: the repository, its trees and the link.
#ENV GITSYNC_ROOT=/git
# The link to the published tree, from the root unless absolute. Without it, the last part of the repository.
#ENV GITSYNC_LINK=
# YAML file with a table of several repositories, each with its own ref, link and hooks; what it does not say is as the other parameters say.
#ENV GITSYNC_REPOSITORIES=
# How long to wait between syncs.
#ENV GITSYNC_PERIOD=10s
# How long a whole sync may take.
#ENV GITSYNC_SYNC_TIMEOUT=120s
# Ends after the first sync, as an init container does.
#ENV GITSYNC_ONE_TIME=false
# How many syncs may fail in a row until it ends: 0 and 1 at the first, negative never. Never, too, for a table of repositories where it is not set, unless it is one-time.
#ENV GITSYNC_MAX_FAILURES=0
# How long ago the last successful sync may be until it is not ready; for ever without.
#ENV GITSYNC_READY_MAX_AGE=
# A symbolic link, which switches all files at once; or a directory with a copy, for volumes and programs that know no links, where each file is switched by itself and all else in it is removed.
#ENV GITSYNC_PUBLISH=link
# Where POST /sync is taken from forges and programs; needs a secret.
#ENV GITSYNC_TRIGGER_BIND=
# The secret of webhooks, by which GitHub, GitLab, Gitea and Forgejo sign them, or the bearer token; several in lines, so that it can be changed.
#ENV GITSYNC_TRIGGER_SECRET_FILE=
# User for the repository, by HTTP.
#ENV GITSYNC_USERNAME=
# File with the password, read before each sync.
#ENV GITSYNC_PASSWORD_FILE=
# Files with SSH keys, with colons between; the default is used where it is there.
#ENV GITSYNC_SSH_KEY_FILE=/etc/git-secret/ssh
# Program that is run in each new tree after it is published, without arguments or a shell.
#ENV GITSYNC_EXECHOOK_COMMAND=
# Called after each new tree is published.
#ENV GITSYNC_WEBHOOK_URL=
# How many commits of history are fetched; 0 for all.
#ENV GITSYNC_DEPTH=1
# Of a partial clone, such as blob:none.
#ENV GITSYNC_FILTER=
# Which submodules are in the tree: all, those of the repository itself, or none.
#ENV GITSYNC_SUBMODULES=recursive
# File with patterns of sparse-checkout: what of the repository is in the tree.
#ENV GITSYNC_SPARSE_CHECKOUT_FILE=
# File with the last error as JSON, from the root unless absolute; gone after a success.
#ENV GITSYNC_ERROR_FILE=
# File that is touched after the first sync and after each that changed something.
#ENV GITSYNC_TOUCH_FILE=
# Lets the group write what is published.
#ENV GITSYNC_GROUP_WRITE=false
# Adds the user of the process to /etc/passwd where it is missing, which SSH needs.
#ENV GITSYNC_ADD_USER=false
# How long a tree stays after another has taken its place.
#ENV GITSYNC_STALE_WORKTREE_TIMEOUT=0
# How long to wait between syncs until the first success; as period without.
#ENV GITSYNC_INIT_PERIOD=
# How many syncs may fail in a row until the first success; as max-failures without.
#ENV GITSYNC_INIT_MAX_FAILURES=
# Signal at which it syncs at once: HUP, USR1, USR2, WINCH or CONT, or its number.
#ENV GITSYNC_SYNC_ON_SIGNAL=
# How long that program may take.
#ENV GITSYNC_EXECHOOK_TIMEOUT=30s
# How long to wait until it is run again after a failure.
#ENV GITSYNC_EXECHOOK_BACKOFF=3s
# Program that is run in each new tree before it is published; where it fails, the old tree stays and it is tried again.
#ENV GITSYNC_PRE_PUBLISH_EXECHOOK_COMMAND=
# How long that program may take.
#ENV GITSYNC_PRE_PUBLISH_EXECHOOK_TIMEOUT=30s
# How long to wait until it is run again after a failure.
#ENV GITSYNC_PRE_PUBLISH_EXECHOOK_BACKOFF=3s
# Method of that call.
#ENV GITSYNC_WEBHOOK_METHOD=POST
# Status that counts as success; with 0 or -1 any does.
#ENV GITSYNC_WEBHOOK_SUCCESS_STATUS=200
# How long that call may take.
#ENV GITSYNC_WEBHOOK_TIMEOUT=1s
# How long to wait until it is called again after a failure.
#ENV GITSYNC_WEBHOOK_BACKOFF=3s
# Signs that call, which then has a body in JSON.
#ENV GITSYNC_WEBHOOK_SECRET_FILE=
# Credentials of further URLs, such as those of submodules: a JSON object with url, username and password or password-file, or a list of them.
#ENV GITSYNC_CREDENTIAL=
# Asked for username and password before each sync.
#ENV GITSYNC_ASKPASS_URL=
# Uses the cookies in /etc/git-secret/cookie_file.
#ENV GITSYNC_COOKIE_FILE=false
# Refuses SSH servers whose key is not known.
#ENV GITSYNC_SSH_KNOWN_HOSTS=true
# File with the keys of SSH servers.
#ENV GITSYNC_SSH_KNOWN_HOSTS_FILE=/etc/git-secret/known_hosts
# The API of GitHub, for the tokens of an app.
#ENV GITSYNC_GITHUB_BASE_URL=https://api.github.com/
# File with that key.
#ENV GITSYNC_GITHUB_APP_PRIVATE_KEY_FILE=
# Client id of the app, or its application id.
#ENV GITSYNC_GITHUB_APP_CLIENT_ID=
# Application id of the app, or its client id.
#ENV GITSYNC_GITHUB_APP_APPLICATION_ID=0
# Which installation of the app.
#ENV GITSYNC_GITHUB_APP_INSTALLATION_ID=0
# File of allowed signers (ssh-keygen): only what one of them has signed is published.
#ENV GITSYNC_VERIFY_SSH_ALLOWED_SIGNERS=
# File with OpenPGP keys: only what one of them has signed is published.
#ENV GITSYNC_VERIFY_GPG_KEYS=
# The program git.
#ENV GITSYNC_GIT=git
# Configuration of git: key:value,key2:"value 2".
#ENV GITSYNC_GIT_CONFIG=
# More of it.
#ENV GITSYNC_GIT_CONFIG_ADD=
# When git tidies up after a change.
#ENV GITSYNC_GIT_GC=always
# Where git-sync answered probes: 200 on every path after the first sync. Admin has better ones.
#ENV GITSYNC_HTTP_BIND=
# Tells the metrics of git-sync under their own names at /metrics there.
#ENV GITSYNC_HTTP_METRICS=false
# Takes profiles at /debug/pprof/ there.
#ENV GITSYNC_HTTP_PPROF=false
# From 5 on it logs each process and event too, as LOG_LEVEL=debug does.
#ENV GITSYNC_VERBOSE=0
# Where the admin API listens: health, readiness, metrics, parameters.
#ENV GITSYNC_ADMIN=0.0.0.0:9102
# How long work in hand may go on after SIGTERM before it is cut off.
#ENV GITSYNC_DRAIN=10s
# Least level that is logged.
#ENV GITSYNC_LOG_LEVEL=info
# One JSON object a line, or text for people.
#ENV GITSYNC_LOG_FORMAT=json

LABEL org.opencontainers.image.title='outrider/git-sync'
LABEL org.opencontainers.image.description='Keeps a directory at a ref of a git repository, for an application that serves or runs what is in it.'
LABEL org.opencontainers.image.version='0.1.0'
LABEL org.opencontainers.image.licenses='Apache-2.0'
LABEL io.outrider.definition='{"name":"git-sync","pattern":"sidecar","summary":"Keeps a directory at a ref of a git repository, for an application that serves or runs what is in it.","contract":["The link is relative, is replaced by a rename, and the last element of its target is the hash of the commit.","Whatever fails, the published tree stays whole.","Killed at any instant, it leaves a link to one whole commit, and the next start clears away the rest.","An idle poll starts at most one process of git.","Credentials are never in arguments, logs, errors or on disk.","A push is published at once by a signed trigger, and a trigger that is forged or repeated does nothing.","It is not ready before the first sync, nor when the last success is too long ago.","Only what allowed signers have signed is published, where signers are given.","The flags and variables of kubernetes/git-sync mean what they mean there."],"params":[{"name":"repo","kind":"repository","help":"What to sync: a URL of HTTP, HTTPS or SSH, user@host:path, or a local path. User and password in a URL of HTTP are used as credentials and shown nowhere.","variable":"GITSYNC_REPO","flag":"--repo","unless":"repositories","example":"https://github.com/kubernetes/git-sync.git","formerly":[{"variable":"GIT_SYNC_REPO"}]},{"name":"ref","kind":"text","help":"Branch, tag or whole hash to sync; with a hash it is synced once.","variable":"GITSYNC_REF","flag":"--ref","default":"HEAD","formerly":[{"flag":"--branch","variable":"GIT_SYNC_BRANCH"},{"flag":"--rev","variable":"GIT_SYNC_REV"}]},{"name":"root","kind":"path","help":"Where all is kept: the repository, its trees and the link.","variable":"GITSYNC_ROOT","flag":"--root","default":"/git","directory":true,"written":true,"formerly":[{"variable":"GIT_SYNC_ROOT"}]},{"name":"link","kind":"text","help":"The link to the published tree, from the root unless absolute. Without it, the last part of the repository.","variable":"GITSYNC_LINK","flag":"--link","optional":true,"formerly":[{"variable":"GIT_SYNC_LINK"},{"flag":"--dest","variable":"GIT_SYNC_DEST"}]},{"name":"repositories","kind":"path","help":"YAML file with a table of several repositories, each with its own ref, link and hooks; what it does not say is as the other parameters say.","variable":"GITSYNC_REPOSITORIES","flag":"--repositories","optional":true,"reloads":true},{"name":"period","kind":"duration","help":"How long to wait between syncs.","variable":"GITSYNC_PERIOD","flag":"--period","default":"10s","formerly":[{"variable":"GIT_SYNC_PERIOD"},{"flag":"--wait","variable":"GIT_SYNC_WAIT"}]},{"name":"syncTimeout","kind":"duration","help":"How long a whole sync may take.","variable":"GITSYNC_SYNC_TIMEOUT","flag":"--sync-timeout","default":"120s","formerly":[{"variable":"GIT_SYNC_SYNC_TIMEOUT"},{"flag":"--timeout","variable":"GIT_SYNC_TIMEOUT"}]},{"name":"oneTime","kind":"flag","help":"Ends after the first sync, as an init container does.","variable":"GITSYNC_ONE_TIME","flag":"--one-time","default":"false","formerly":[{"variable":"GIT_SYNC_ONE_TIME"}]},{"name":"maxFailures","kind":"integer","help":"How many syncs may fail in a row until it ends: 0 and 1 at the first, negative never. Never, too, for a table of repositories where it is not set, unless it is one-time.","variable":"GITSYNC_MAX_FAILURES","flag":"--max-failures","default":"0","example":"-1","formerly":[{"variable":"GIT_SYNC_MAX_FAILURES"},{"flag":"--max-sync-failures","variable":"GIT_SYNC_MAX_SYNC_FAILURES"}]},{"name":"readyMaxAge","kind":"duration","help":"How long ago the last successful sync may be until it is not ready; for ever without.","variable":"GITSYNC_READY_MAX_AGE","flag":"--ready-max-age","optional":true},{"name":"publish","kind":"link|copy","help":"A symbolic link, which switches all files at once; or a directory with a copy, for volumes and programs that know no links, where each file is switched by itself and all else in it is removed.","variable":"GITSYNC_PUBLISH","flag":"--publish","default":"link"},{"name":"triggerBind","kind":"address","help":"Where POST /sync is taken from forges and programs; needs a secret.","variable":"GITSYNC_TRIGGER_BIND","flag":"--trigger-bind","optional":true},{"name":"triggerSecret","kind":"text","help":"The secret of webhooks, by which GitHub, GitLab, Gitea and Forgejo sign them, or the bearer token; several in lines, so that it can be changed.","variable":"GITSYNC_TRIGGER_SECRET","secret":true,"optional":true},{"name":"username","kind":"text","help":"User for the repository, by HTTP.","variable":"GITSYNC_USERNAME","flag":"--username","optional":true,"formerly":[{"variable":"GIT_SYNC_USERNAME"}]},{"name":"password","kind":"text","help":"Password or token of that user.","variable":"GITSYNC_PASSWORD","secret":true,"optional":true,"fileParam":"passwordFile","formerly":[{"variable":"GIT_SYNC_PASSWORD"},{"flag":"--password"}]},{"name":"passwordFile","kind":"path","help":"File with the password, read before each sync.","variable":"GITSYNC_PASSWORD_FILE","flag":"--password-file","optional":true,"formerly":[{"variable":"GIT_SYNC_PASSWORD_FILE"}]},{"name":"sshKeyFile","kind":"text","help":"Files with SSH keys, with colons between; the default is used where it is there.","variable":"GITSYNC_SSH_KEY_FILE","flag":"--ssh-key-file","default":"/etc/git-secret/ssh","formerly":[{"variable":"GIT_SYNC_SSH_KEY_FILE"},{"variable":"GIT_SSH_KEY_FILE"}]},{"name":"exechookCommand","kind":"text","help":"Program that is run in each new tree after it is published, without arguments or a shell.","variable":"GITSYNC_EXECHOOK_COMMAND","flag":"--exechook-command","optional":true,"formerly":[{"variable":"GIT_SYNC_EXECHOOK_COMMAND"},{"flag":"--sync-hook-command","variable":"GIT_SYNC_HOOK_COMMAND"}]},{"name":"webhookUrl","kind":"url","help":"Called after each new tree is published.","variable":"GITSYNC_WEBHOOK_URL","flag":"--webhook-url","optional":true,"formerly":[{"variable":"GIT_SYNC_WEBHOOK_URL"}]},{"name":"depth","kind":"integer","help":"How many commits of history are fetched; 0 for all.","variable":"GITSYNC_DEPTH","flag":"--depth","default":"1","advanced":true,"formerly":[{"variable":"GIT_SYNC_DEPTH"}]},{"name":"filter","kind":"text","help":"Of a partial clone, such as blob:none.","variable":"GITSYNC_FILTER","flag":"--filter","optional":true,"advanced":true},{"name":"submodules","kind":"recursive|shallow|off","help":"Which submodules are in the tree: all, those of the repository itself, or none.","variable":"GITSYNC_SUBMODULES","flag":"--submodules","default":"recursive","advanced":true,"formerly":[{"variable":"GIT_SYNC_SUBMODULES"}]},{"name":"sparseCheckoutFile","kind":"path","help":"File with patterns of sparse-checkout: what of the repository is in the tree.","variable":"GITSYNC_SPARSE_CHECKOUT_FILE","flag":"--sparse-checkout-file","optional":true,"advanced":true,"formerly":[{"variable":"GIT_SYNC_SPARSE_CHECKOUT_FILE"}]},{"name":"errorFile","kind":"text","help":"File with the last error as JSON, from the root unless absolute; gone after a success.","variable":"GITSYNC_ERROR_FILE","flag":"--error-file","optional":true,"advanced":true,"formerly":[{"variable":"GIT_SYNC_ERROR_FILE"}]},{"name":"touchFile","kind":"text","help":"File that is touched after the first sync and after each that changed something.","variable":"GITSYNC_TOUCH_FILE","flag":"--touch-file","optional":true,"advanced":true,"formerly":[{"variable":"GIT_SYNC_TOUCH_FILE"}]},{"name":"groupWrite","kind":"flag","help":"Lets the group write what is published.","variable":"GITSYNC_GROUP_WRITE","flag":"--group-write","default":"false","advanced":true,"formerly":[{"variable":"GIT_SYNC_GROUP_WRITE"}]},{"name":"addUser","kind":"flag","help":"Adds the user of the process to /etc/passwd where it is missing, which SSH needs.","variable":"GITSYNC_ADD_USER","flag":"--add-user","default":"false","advanced":true,"formerly":[{"variable":"GIT_SYNC_ADD_USER"}]},{"name":"staleWorktreeTimeout","kind":"duration","help":"How long a tree stays after another has taken its place.","variable":"GITSYNC_STALE_WORKTREE_TIMEOUT","flag":"--stale-worktree-timeout","default":"0","advanced":true},{"name":"initPeriod","kind":"duration","help":"How long to wait between syncs until the first success; as period without.","variable":"GITSYNC_INIT_PERIOD","flag":"--init-period","optional":true,"advanced":true},{"name":"initMaxFailures","kind":"integer","help":"How many syncs may fail in a row until the first success; as max-failures without.","variable":"GITSYNC_INIT_MAX_FAILURES","flag":"--init-max-failures","optional":true,"advanced":true},{"name":"syncOnSignal","kind":"signal","help":"Signal at which it syncs at once: HUP, USR1, USR2, WINCH or CONT, or its number.","variable":"GITSYNC_SYNC_ON_SIGNAL","flag":"--sync-on-signal","optional":true,"advanced":true,"formerly":[{"variable":"GIT_SYNC_SYNC_ON_SIGNAL"}]},{"name":"exechookTimeout","kind":"duration","help":"How long that program may take.","variable":"GITSYNC_EXECHOOK_TIMEOUT","flag":"--exechook-timeout","default":"30s","advanced":true,"formerly":[{"variable":"GIT_SYNC_EXECHOOK_TIMEOUT"}]},{"name":"exechookBackoff","kind":"duration","help":"How long to wait until it is run again after a failure.","variable":"GITSYNC_EXECHOOK_BACKOFF","flag":"--exechook-backoff","default":"3s","advanced":true,"formerly":[{"variable":"GIT_SYNC_EXECHOOK_BACKOFF"}]},{"name":"prePublishExechookCommand","kind":"text","help":"Program that is run in each new tree before it is published; where it fails, the old tree stays and it is tried again.","variable":"GITSYNC_PRE_PUBLISH_EXECHOOK_COMMAND","flag":"--pre-publish-exechook-command","optional":true,"advanced":true},{"name":"prePublishExechookTimeout","kind":"duration","help":"How long that program may take.","variable":"GITSYNC_PRE_PUBLISH_EXECHOOK_TIMEOUT","flag":"--pre-publish-exechook-timeout","default":"30s","advanced":true},{"name":"prePublishExechookBackoff","kind":"duration","help":"How long to wait until it is run again after a failure.","variable":"GITSYNC_PRE_PUBLISH_EXECHOOK_BACKOFF","flag":"--pre-publish-exechook-backoff","default":"3s","advanced":true},{"name":"webhookMethod","kind":"text","help":"Method of that call.","variable":"GITSYNC_WEBHOOK_METHOD","flag":"--webhook-method","default":"POST","advanced":true,"formerly":[{"variable":"GIT_SYNC_WEBHOOK_METHOD"}]},{"name":"webhookSuccessStatus","kind":"integer","help":"Status that counts as success; with 0 or -1 any does.","variable":"GITSYNC_WEBHOOK_SUCCESS_STATUS","flag":"--webhook-success-status","default":"200","advanced":true,"formerly":[{"variable":"GIT_SYNC_WEBHOOK_SUCCESS_STATUS"}]},{"name":"webhookTimeout","kind":"duration","help":"How long that call may take.","variable":"GITSYNC_WEBHOOK_TIMEOUT","flag":"--webhook-timeout","default":"1s","advanced":true,"formerly":[{"variable":"GIT_SYNC_WEBHOOK_TIMEOUT"}]},{"name":"webhookBackoff","kind":"duration","help":"How long to wait until it is called again after a failure.","variable":"GITSYNC_WEBHOOK_BACKOFF","flag":"--webhook-backoff","default":"3s","advanced":true,"formerly":[{"variable":"GIT_SYNC_WEBHOOK_BACKOFF"}]},{"name":"webhookSecret","kind":"text","help":"Signs that call, which then has a body in JSON.","variable":"GITSYNC_WEBHOOK_SECRET","secret":true,"optional":true,"advanced":true},{"name":"credential","kind":"json","help":"Credentials of further URLs, such as those of submodules: a JSON object with url, username and password or password-file, or a list of them.","variable":"GITSYNC_CREDENTIAL","flag":"--credential","optional":true,"advanced":true},{"name":"askpassUrl","kind":"url","help":"Asked for username and password before each sync.","variable":"GITSYNC_ASKPASS_URL","flag":"--askpass-url","optional":true,"advanced":true,"formerly":[{"variable":"GIT_SYNC_ASKPASS_URL"},{"variable":"GIT_ASKPASS_URL"}]},{"name":"cookieFile","kind":"flag","help":"Uses the cookies in /etc/git-secret/cookie_file.","variable":"GITSYNC_COOKIE_FILE","flag":"--cookie-file","default":"false","advanced":true,"formerly":[{"variable":"GIT_SYNC_COOKIE_FILE"},{"variable":"GIT_COOKIE_FILE"}]},{"name":"sshKnownHosts","kind":"flag","help":"Refuses SSH servers whose key is not known.","variable":"GITSYNC_SSH_KNOWN_HOSTS","flag":"--ssh-known-hosts","default":"true","fileParam":"sshKnownHostsFile","advanced":true,"formerly":[{"variable":"GIT_SYNC_KNOWN_HOSTS"},{"variable":"GIT_KNOWN_HOSTS"}]},{"name":"sshKnownHostsFile","kind":"path","help":"File with the keys of SSH servers.","variable":"GITSYNC_SSH_KNOWN_HOSTS_FILE","flag":"--ssh-known-hosts-file","default":"/etc/git-secret/known_hosts","advanced":true,"formerly":[{"variable":"GIT_SYNC_SSH_KNOWN_HOSTS_FILE"},{"variable":"GIT_SSH_KNOWN_HOSTS_FILE"}]},{"name":"githubBaseUrl","kind":"url","help":"The API of GitHub, for the tokens of an app.","variable":"GITSYNC_GITHUB_BASE_URL","flag":"--github-base-url","default":"https://api.github.com/","advanced":true},{"name":"githubAppPrivateKey","kind":"text","help":"Private key of a GitHub App, PEM.","variable":"GITSYNC_GITHUB_APP_PRIVATE_KEY","secret":true,"optional":true,"advanced":true,"fileParam":"githubAppPrivateKeyFile"},{"name":"githubAppPrivateKeyFile","kind":"path","help":"File with that key.","variable":"GITSYNC_GITHUB_APP_PRIVATE_KEY_FILE","flag":"--github-app-private-key-file","optional":true,"advanced":true},{"name":"githubAppClientId","kind":"text","help":"Client id of the app, or its application id.","variable":"GITSYNC_GITHUB_APP_CLIENT_ID","flag":"--github-app-client-id","optional":true,"advanced":true},{"name":"githubAppApplicationId","kind":"integer","help":"Application id of the app, or its client id.","variable":"GITSYNC_GITHUB_APP_APPLICATION_ID","flag":"--github-app-application-id","default":"0","advanced":true},{"name":"githubAppInstallationId","kind":"integer","help":"Which installation of the app.","variable":"GITSYNC_GITHUB_APP_INSTALLATION_ID","flag":"--github-app-installation-id","default":"0","advanced":true},{"name":"verifySshAllowedSigners","kind":"path","help":"File of allowed signers (ssh-keygen): only what one of them has signed is published.","variable":"GITSYNC_VERIFY_SSH_ALLOWED_SIGNERS","flag":"--verify-ssh-allowed-signers","optional":true,"advanced":true},{"name":"verifyGpgKeys","kind":"path","help":"File with OpenPGP keys: only what one of them has signed is published.","variable":"GITSYNC_VERIFY_GPG_KEYS","flag":"--verify-gpg-keys","optional":true,"advanced":true},{"name":"git","kind":"text","help":"The program git.","variable":"GITSYNC_GIT","flag":"--git","default":"git","advanced":true,"formerly":[{"variable":"GIT_SYNC_GIT"}]},{"name":"gitConfig","kind":"key:value,...","help":"Configuration of git: key:value,key2:\"value 2\".","variable":"GITSYNC_GIT_CONFIG","flag":"--git-config","optional":true,"advanced":true,"formerly":[{"variable":"GIT_SYNC_GIT_CONFIG"}]},{"name":"gitConfigAdd","kind":"key:value,...","help":"More of it.","variable":"GITSYNC_GIT_CONFIG_ADD","flag":"--git-config-add","optional":true,"advanced":true},{"name":"gitGc","kind":"auto|always|aggressive|off","help":"When git tidies up after a change.","variable":"GITSYNC_GIT_GC","flag":"--git-gc","default":"always","advanced":true,"formerly":[{"variable":"GIT_SYNC_GIT_GC"}]},{"name":"httpBind","kind":"address","help":"Where git-sync answered probes: 200 on every path after the first sync. Admin has better ones.","variable":"GITSYNC_HTTP_BIND","flag":"--http-bind","optional":true,"advanced":true,"formerly":[{"variable":"GIT_SYNC_HTTP_BIND"}]},{"name":"httpMetrics","kind":"flag","help":"Tells the metrics of git-sync under their own names at /metrics there.","variable":"GITSYNC_HTTP_METRICS","flag":"--http-metrics","default":"false","advanced":true,"formerly":[{"variable":"GIT_SYNC_HTTP_METRICS"}]},{"name":"httpPprof","kind":"flag","help":"Takes profiles at /debug/pprof/ there.","variable":"GITSYNC_HTTP_PPROF","flag":"--http-pprof","default":"false","advanced":true,"formerly":[{"variable":"GIT_SYNC_HTTP_PPROF"}]},{"name":"verbose","kind":"integer","help":"From 5 on it logs each process and event too, as LOG_LEVEL=debug does.","variable":"GITSYNC_VERBOSE","flag":"--verbose","default":"0","short":"v","advanced":true,"formerly":[{"flag":"--v"}]},{"name":"admin","kind":"address","help":"Where the admin API listens: health, readiness, metrics, parameters.","variable":"GITSYNC_ADMIN","flag":"--admin","default":"0.0.0.0:9102"},{"name":"drain","kind":"duration","help":"How long work in hand may go on after SIGTERM before it is cut off.","variable":"GITSYNC_DRAIN","flag":"--drain","default":"10s"},{"name":"logLevel","kind":"debug|info|warn|error","help":"Least level that is logged.","variable":"GITSYNC_LOG_LEVEL","flag":"--log-level","default":"info","advanced":true,"shared":"LOG_LEVEL"},{"name":"logFormat","kind":"json|text","help":"One JSON object a line, or text for people.","variable":"GITSYNC_LOG_FORMAT","flag":"--log-format","default":"json","advanced":true,"shared":"LOG_FORMAT"}],"ports":{"trigger":"triggerBind","probes":"httpBind"},"volumes":{"/git":"What is synced; the application mounts it too.","/etc/git-secret":"SSH key, known hosts and cookies: ssh, known_hosts, cookie_file."},"metrics":[{"name":"outrider_git_sync_syncs_total","type":"counter","help":"Syncs, by result: published, unchanged or failed.","labels":["repository","outcome"]},{"name":"outrider_git_sync_sync_duration_seconds","type":"histogram","help":"How long syncs took.","labels":["repository"]},{"name":"outrider_git_sync_errors_total","type":"counter","help":"Failed syncs, by what was wrong.","labels":["repository","kind"]},{"name":"outrider_git_sync_consecutive_failures","type":"gauge","help":"Syncs that have failed in a row.","labels":["repository"]},{"name":"outrider_git_sync_last_success_timestamp_seconds","type":"gauge","help":"When a sync last succeeded, Unix time; 0 for never.","labels":["repository"]},{"name":"outrider_git_sync_last_change_timestamp_seconds","type":"gauge","help":"When a tree was last published, Unix time; 0 for never.","labels":["repository"]},{"name":"outrider_git_sync_published_info","type":"gauge","help":"Always 1; the label says which commit is published.","labels":["repository","commit"]},{"name":"outrider_git_sync_behind_seconds","type":"gauge","help":"For how long the remote is known to have a commit that is not published; 0 when there is none.","labels":["repository"]},{"name":"outrider_git_sync_git_processes_total","type":"counter","help":"Processes of git that were started, by command.","labels":["command"]},{"name":"outrider_git_sync_recoveries_total","type":"counter","help":"Times that leftovers of a crash were cleared away.","labels":["repository"]},{"name":"outrider_git_sync_rebuilds_total","type":"counter","help":"Times that the repository was made anew beside the published tree.","labels":["repository"]},{"name":"outrider_git_sync_hook_runs_total","type":"counter","help":"Runs of hooks, by result: success or error.","labels":["repository","hook","outcome"]},{"name":"outrider_git_sync_triggers_total","type":"counter","help":"Requests to sync, by how they were signed and what became of them.","labels":["form","outcome"]},{"name":"outrider_git_sync_askpass_total","type":"counter","help":"Questions to the askpass URL, by result.","labels":["outcome"]},{"name":"outrider_git_sync_github_tokens_total","type":"counter","help":"Tokens asked of GitHub, by result.","labels":["outcome"]},{"name":"outrider_git_sync_config_last_reload_successful","type":"gauge","help":"Whether the last load of these files was taken: 1 or 0.","labels":["file"]},{"name":"outrider_git_sync_config_last_reload_timestamp_seconds","type":"gauge","help":"When these files were last taken, Unix time.","labels":["file"]},{"name":"outrider_git_sync_config_reloads_total","type":"counter","help":"Loads of these files, by result: taken or refused.","labels":["file","result"]}],"pages":{"/status":{"title":"Repositories","help":"Each repository with its ref, published commit, state and last success."}},"commands":{},"retired":[{"flag":"--ssh","variable":"GIT_SYNC_SSH","takesValue":false,"why":"the address of the repository says whether SSH is used","refused":false},{"variable":"GITSYNC_SSH","takesValue":false,"why":"the address of the repository says whether SSH is used","refused":false},{"flag":"--change-permissions","variable":"GIT_SYNC_PERMISSIONS","takesValue":true,"why":"with --group-write the group may write what is published","refused":true},{"flag":"--logtostderr","takesValue":false,"why":"the log is on standard output, each line a JSON object","refused":false},{"flag":"--alsologtostderr","takesValue":false,"why":"the log is on standard output, each line a JSON object","refused":false},{"flag":"--stderrthreshold","takesValue":true,"why":"the log is on standard output, each line a JSON object","refused":false},{"flag":"--vmodule","takesValue":true,"why":"the log is on standard output, each line a JSON object","refused":false}]}'

USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["/usr/bin/node","/app/main.js","--probe","ready"]
ENTRYPOINT ["/usr/bin/tini","-s","--","/usr/bin/node","--max-semi-space-size=2","--v8-pool-size=1","/app/main.js"]
