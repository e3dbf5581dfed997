/* The inside of the sending role (sender.c, and what of io.c and main.c belongs to it). */
#ifndef PS_SENDER_INNER_H
#define PS_SENDER_INNER_H
#include "core/names.h"
#include "delta/token.h"
#include "filelist/lister.h"
#include "render/render.h"
#include "sender/sender.h"
#include "wire/local.h"
#include "wire/messages.h"
#include "wire/records.h"

#include "api/sending_api.h"

typedef enum {
    SEND_LIST,     /* the first list is being written */
    SEND_NAMES,    /* the names of --files-from come before it, at a client that has them from its server */
    SEND_REQUEST,  /* a request comes next */
    SEND_SUMS,     /* its block sums */
    SEND_PREFIX,   /* --append-verify: the part that the receiver has is hashed */
    SEND_WHOLE,    /* literal data to the end of the file */
    SEND_DELTA,    /* the block search */
    SEND_HAND_OVER, /* a local copy: the open file goes to the receiver instead */
    SEND_GOODBYE,  /* statistics are out; the last NDX_DONEs */
    SEND_END
} ps_send_state;

typedef struct ps_request {
    i32 ndx;
    u32 iflags;
    u8 basis;          /* PS_BASIS_*, as it came or PS_BASIS_FNAME */
    u32 xname_len;
    u8 xname[PS_LIMIT_NAME + 1];
    ps_sum_head head;
    ps_flist *list;    /* where file lies; `dirs` for a list's own directory */
    ps_file *file;
    ps_flist dirs;     /* a stand-in whose names are the transfer's directories */
    bool append;
    i64 sum_bytes;     /* read for it: the head and the block sums, %c */
} ps_request;

struct ps_send {
    ps_ctx *ctx;
    ps_flists *all;
    ps_lister *lister;
    ps_rules *rules;
    ps_root *root;
    ps_local *local;   /* NULL: files are sent */
    ps_mux_in in;
    ps_mux_out out;
    ps_ndx_state ndx_in, ndx_out;
    ps_send_state state;
    i32 phase, first_io_error;
    i32 remote_exit;
    ps_buf frames;
    ps_buf answers;    /* drive.c: what the receiver said last */
    ps_buf scratch;    /* a header being built */

    ps_buf name;       /* of --files-from, as far as it has come */
    ps_request r;
    int fd;
    i64 size, offset;  /* of the open file: its length when it was opened; how far it has been sent */
    i64 prefix;        /* --append: bytes that the receiver claims to have */
    int read_error;
    u64 out_mark;      /* out.data_bytes when the file began, %b */
    bool written_full; /* the block search was stopped because the output is full */
    u8 *buffer;        /* file data on its way into a compressor */

    ps_progress *progress; /* NULL: none is shown */
    u32 lists_gone;        /* lists that are through, under inc_recurse */

    ps_token_out *token;
    ps_token_skip *skip;
    ps_sum *sum;
    ps_sums *sums;
    ps_block_hasher hasher;
    ps_match *match;
    char path[PS_SOURCE_PATH]; /* of the open file, beneath the root */
    u8 *block; /* zlib: a matched block's data */
    size_t block_room;
};

#define SEND_BUFFER (128u * 1024u)

/* requests.c */
int send_on_message(void *owner, u32 code, const u8 *data, u32 len);
int send_read_names(ps_send *s);               /* PS_OK once all have come, PS_AGAIN, PS_FAIL */
int send_read_request(ps_send *s, bool *done); /* PS_OK with s->r filled or *done, PS_AGAIN, PS_FAIL */
int send_read_sums(ps_send *s);                /* PS_OK, PS_AGAIN, PS_FAIL */

/* remove_source.c: --remove-source-files, by a MSG_SUCCESS; PS_FAIL only for an index that is none */
#define PS_LOCAL_SUCCESS 20u /* its bytes in a local copy: ndx, and device and inode of what the file has become */
int send_remove_source(ps_send *s, const u8 *data, u32 len);

/* file.c */
int send_file_open(ps_send *s);  /* PS_OK; s->fd is -1 when the file is not sent */
int send_file_begin(ps_send *s); /* the reply's head; sets the state */
int send_file_step(ps_send *s);  /* PS_OK: go on; PS_FULL, PS_FAIL; sets the state to SEND_REQUEST after the file */

/* sender.c */
static inline bool send_out_full(const ps_send *s) { return mux_out_used(&s->out) >= PS_SEND_HIGH_WATER; }
int send_put_reply(ps_send *s); /* sender.c:write_ndx_and_attrs */
void send_log(ps_send *s, int code);

#endif
