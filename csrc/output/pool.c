#include "output/pool.h"
#include "output/output_inner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define THREADS 2
#define BATCHES 4
#define BATCH_FILES 32                 /* each has an open descriptor or two while it waits */
#define BATCH_BYTES (384u * 1024u)     /* taken before a batch is full; the last file may reach beyond */
#define DESCRIPTORS_LEFT_OVER 256      /* what the rest of the process may want */

/* A directory that files of one or more batches go to. Only the session's thread counts. */
typedef struct pool_dir {
    int fd;
    u32 users;
} pool_dir;

typedef struct pool_job {
    ps_out *out;
    pool_dir *dir;
    ps_file file; /* a copy: the list that holds the entry may be gone by then */
    const char *name;
    int from;     /* -1: the data are the batch's */
    size_t at, n; /* of the batch's data */
    bool done;
} pool_job;

typedef enum { BATCH_FREE, BATCH_FILLING, BATCH_QUEUED, BATCH_RUNNING, BATCH_OVER } batch_state;

typedef struct pool_batch {
    batch_state state; /* under the lock once the batch has been queued */
    u64 turn;          /* the order in which batches were queued */
    u32 count;
    size_t used;
    pool_job jobs[BATCH_FILES];
    u8 data[BATCH_BYTES + OUT_POOL_FILE];
} pool_batch;

typedef struct pool_thread {
    ps_out_pool *pool;
    pthread_t id;
    ps_ctx *c; /* its own, so that what goes wrong is not logged twice */
    u8 *buffer; /* OUT_POOL_FILE bytes, for files that are copied */
} pool_thread;

struct ps_out_pool {
    pool_thread threads[THREADS];
    u32 thread_count;
    pthread_mutex_t lock;
    pthread_cond_t work, over;
    bool ending;
    u64 turns;
    pool_batch *batches[BATCHES];
    pool_batch *filling;
    size_t under_way;
    pool_dir *dir;      /* of the file that was put last */
    u32 dir_index;
};

/* ---- a thread --------------------------------------------------------------------------------- */

static bool write_all(int fd, const u8 *data, size_t n) {
    for (i64 at = 0; n;) {
        ssize_t done = pwrite(fd, data, n, at);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        data += done;
        at += done;
        n -= (size_t)done;
    }
    return true;
}

/* What the last file of the batch that was looked at came out as: others that are made with the same mode in the same
 * directory come out the same, default ACLs and inherited groups included. */
typedef struct made_as {
    const pool_dir *dir;
    mode_t asked;
    struct stat st;
} made_as;

static bool stat_new(const pool_job *j, made_as *known, struct stat *st) {
    if (known->dir != j->dir || known->asked != j->out->made_mode) {
        if (fstat(j->out->fd, &known->st) < 0) return false;
        known->dir = j->dir;
        known->asked = j->out->made_mode;
    }
    *st = known->st;
    st->st_mtim.tv_nsec = -1; /* no time that a file may be given: it is always set */
    return true;
}

static bool read_file(int fd, u8 *buffer, size_t n) {
    for (i64 at = 0; n;) {
        ssize_t got = pread(fd, buffer + at, n, at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

static bool put_in_place(pool_thread *t, pool_job *j, const u8 *data, made_as *known) {
    struct stat st;
    int fd = j->out->fd;
    if (j->from >= 0 && !read_file(j->from, t->buffer, j->n)) return false;
    if (j->from >= 0) data = t->buffer;
    if (!write_all(fd, data, j->n) || !stat_new(j, known, &st)) return false;
    attrs_set_open(t->c, fd, "", file_attrs(&j->file), &st, PS_ATTRS_ACCURATE_TIME);
    if (buf_used(&t->c->log)) {
        buf_clear(&t->c->log);
        return false;
    }
    if (renameat(j->dir->fd, j->out->temp, j->dir->fd, j->name) < 0) return false;
    close(fd);
    if (j->from >= 0) close(j->from);
    j->out->fd = j->from = -1;
    return true;
}

static pool_batch *next_batch(const ps_out_pool *p) {
    pool_batch *next = NULL;
    for (u32 i = 0; i < BATCHES; i++) {
        pool_batch *b = p->batches[i];
        if (b->state == BATCH_QUEUED && (!next || b->turn < next->turn)) next = b;
    }
    return next;
}

static void *work(void *argument) {
    pool_thread *t = argument;
    ps_out_pool *p = t->pool;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        pool_batch *b = next_batch(p);
        if (!b) {
            if (p->ending) break;
            pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        b->state = BATCH_RUNNING;
        pthread_mutex_unlock(&p->lock);
        made_as known = {0};
        for (u32 i = 0; i < b->count; i++) b->jobs[i].done = put_in_place(t, &b->jobs[i], b->data + b->jobs[i].at, &known);
        pthread_mutex_lock(&p->lock);
        b->state = BATCH_OVER;
        pthread_cond_signal(&p->over);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- the session's thread --------------------------------------------------------------------- */

static bool start_threads(ps_out_pool *p, const ps_ctx *c) {
    for (; p->thread_count < THREADS; p->thread_count++) {
        pool_thread *t = &p->threads[p->thread_count];
        t->pool = p;
        if (!(t->c = malloc(sizeof *t->c))) break;
        t->buffer = malloc(OUT_POOL_FILE);
        *t->c = *c;
        t->c->log = (ps_buf){0};
        if (t->buffer && thread_start(&t->id, work, t)) continue;
        free(t->buffer);
        free(t->c);
        break;
    }
    return p->thread_count > 0;
}

static bool worth_it(void) {
    struct rlimit limit;
    if (!thread_pays() || getrlimit(RLIMIT_NOFILE, &limit) < 0) return false;
    return limit.rlim_cur >= 2 * BATCHES * BATCH_FILES + DESCRIPTORS_LEFT_OVER;
}

ps_out_pool *out_pool_new(const ps_ctx *c) {
    ps_out_pool *p = worth_it() ? calloc(1, sizeof *p) : NULL;
    if (!p) return NULL;
    bool ok = true;
    for (u32 i = 0; i < BATCHES; i++) ok = (p->batches[i] = malloc(sizeof *p->batches[i])) && ok;
    for (u32 i = 0; ok && i < BATCHES; i++) p->batches[i]->state = BATCH_FREE;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->over, NULL);
    if (ok && start_threads(p, c)) return p;
    out_pool_free(p);
    return NULL;
}

static void release_dir(pool_dir *d) {
    if (!d || --d->users) return;
    close(d->fd);
    free(d);
}

void out_pool_free(ps_out_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (u32 i = 0; i < p->thread_count; i++) {
        pthread_join(p->threads[i].id, NULL);
        buf_free(&p->threads[i].c->log);
        free(p->threads[i].c);
        free(p->threads[i].buffer);
    }
    for (u32 i = 0; i < BATCHES; i++) free(p->batches[i]);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->over);
    pthread_mutex_destroy(&p->lock);
    release_dir(p->dir);
    free(p);
}

static void queue(ps_out_pool *p) {
    pool_batch *b = p->filling;
    if (!b || !b->count) return;
    pthread_mutex_lock(&p->lock);
    b->state = BATCH_QUEUED;
    b->turn = p->turns++;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    p->filling = NULL;
}

u8 *out_pool_room(ps_out_pool *p) {
    if (p->filling && (p->filling->count == BATCH_FILES || p->filling->used >= BATCH_BYTES)) queue(p);
    if (!p->filling) {
        pthread_mutex_lock(&p->lock);
        for (u32 i = 0; i < BATCHES && !p->filling; i++)
            if (p->batches[i]->state == BATCH_FREE) p->filling = p->batches[i];
        if (p->filling) p->filling->state = BATCH_FILLING;
        pthread_mutex_unlock(&p->lock);
        if (!p->filling) return NULL;
        p->filling->count = 0;
        p->filling->used = 0;
    }
    return p->filling->data + p->filling->used;
}

/* The root's cache may close its descriptor of the directory at any time: this one is ours. */
static pool_dir *dir_for(ps_out_pool *p, ps_out *out) {
    if (p->dir && p->dir_index == out->file->dir) return p->dir;
    int found = out_temp_dir_fd(out);
    pool_dir *d = found < 0 ? NULL : malloc(sizeof *d);
    if (!d) return NULL;
    d->fd = fcntl(found, F_DUPFD_CLOEXEC, 3);
    d->users = 1;
    if (d->fd < 0) {
        free(d);
        return NULL;
    }
    release_dir(p->dir);
    p->dir = d;
    p->dir_index = out->file->dir;
    return d;
}

static bool put_job(ps_out_pool *p, ps_out *out, int from, size_t n) {
    pool_batch *b = p->filling;
    pool_dir *d = dir_for(p, out);
    if (!d) return false;
    pool_job *j = &b->jobs[b->count++];
    *j = (pool_job){.out = out, .dir = d, .file = *out->file, .name = out_last_part(out->path), .from = from, .at = b->used, .n = n};
    d->users++;
    out->file = &j->file;
    if (from < 0) b->used += n;
    p->under_way++;
    return true;
}

bool out_pool_put(ps_out_pool *p, ps_out *out, size_t n) { return put_job(p, out, -1, n); }
bool out_pool_put_file(ps_out_pool *p, ps_out *out, int from, size_t n) { return put_job(p, out, from, n); }

/* A batch that is over, or NULL; wait: where one is under way, there will be one. */
static pool_batch *batch_over(ps_out_pool *p, bool wait) {
    pool_batch *over = NULL;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        bool any = false;
        for (u32 i = 0; i < BATCHES && !over; i++) {
            batch_state s = p->batches[i]->state;
            if (s == BATCH_OVER) over = p->batches[i];
            any = any || s == BATCH_QUEUED || s == BATCH_RUNNING;
        }
        if (over || !wait || !any) break;
        pthread_cond_wait(&p->over, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return over;
}

void out_pool_collect(ps_out_pool *p, bool all, out_pool_fn fn, void *owner) {
    if (all) queue(p);
    bool wait = all || !out_pool_room(p);
    for (pool_batch *b; (b = batch_over(p, wait)); wait = all) {
        for (u32 i = 0; i < b->count; i++) {
            pool_job *j = &b->jobs[i];
            p->under_way--;
            release_dir(j->dir);
            fn(owner, j->out, (out_pool_data){b->data + j->at, j->from, j->n}, j->done);
        }
        pthread_mutex_lock(&p->lock);
        b->state = BATCH_FREE;
        pthread_mutex_unlock(&p->lock);
    }
}

size_t out_pool_under_way(const ps_out_pool *p) { return p->under_way; }
