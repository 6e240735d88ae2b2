import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.aggregation.Aggregation;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.bson.BsonTimestamp;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import io.netty.channel.Channel;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * mongo-java-server as a replica set of one member: `java -cp 'JARS/*' MongoDb.java PORT`.
 *
 * Queries and writes are its own. Its change streams know one collection only, have no `ns`, no postBatchResumeToken,
 * and a wrong documentKey for updates; so the answers to $changeStream are made here, out of its oplog, as a mongod
 * makes them: for a collection, a database or the cluster, with the pipeline's other stages.
 */
public class MongoDb extends MemoryBackend {
    private static final int HISTORY_LOST = 286, NO_POST_IMAGE = 47;

    /** A cursor of $changeStream: what it was asked, and the token of what it gave last. */
    private static class Changes {
        String database, collection, token;
        boolean lookup, postImage;
        Aggregation stages;
    }

    private final Map<Long, Changes> open = new HashMap<>();
    private final int port;
    private long cursors = 1L << 40; // apart from those of other cursors
    private String lost = "";

    MongoDb(int port) {
        this.port = port;
        version(new MongoVersion() { // the least that the driver takes
            public List<Integer> getVersionArray() { return List.of(4, 4, 0); }
            public int getWireVersion() { return 9; }
        });
    }

    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[0]);
        MongoServer server = new MongoServer(new MongoDb(port));
        server.enableOplog();
        server.bind("127.0.0.1", port);
        Thread.currentThread().join();
    }

    /** One command after the other, so that a token of now never overtakes a write. */
    @Override
    public synchronized Document handleCommand(Channel channel, String database, String command, Document query) {
        Document answer = answer(channel, database, command, query);
        return answer.append("operationTime", new BsonTimestamp(now()));
    }

    private Document answer(Channel channel, String database, String command, Document query) {
        if (command.equalsIgnoreCase("ismaster") || command.equals("hello")) {
            String me = "127.0.0.1:" + port;
            return super.handleCommand(channel, database, "ismaster", query)
                .append("isWritablePrimary", true).append("setName", "rs0").append("setVersion", 1)
                .append("hosts", List.of(me)).append("primary", me).append("me", me)
                .append("logicalSessionTimeoutMinutes", 30);
        }
        if (command.equals("aggregate") && pipeline(query).stream().anyMatch(stage -> stage.containsKey("$changeStream"))) {
            return watch(channel, database, query);
        }
        if (command.equals("getMore") && open.containsKey(query.get("getMore"))) {
            long id = (Long) query.get("getMore");
            return batch(channel, id, "nextBatch", (Integer) query.getOrDefault("batchSize", 1000));
        }
        if (command.equals("killCursors") && open.keySet().removeAll((List<?>) query.get("cursors"))) {
            return new Document("ok", 1.0);
        }
        if (command.equals("forgetOplog")) { // for tests: what happened until now is not in the oplog any more
            lost = token(now(), true);
            return new Document("ok", 1.0);
        }
        return super.handleCommand(channel, database, command, query);
    }

    @SuppressWarnings("unchecked")
    private static List<Document> pipeline(Document query) {
        return (List<Document>) query.get("pipeline");
    }

    private Document watch(Channel channel, String database, Document query) {
        List<Document> stages = pipeline(query);
        Document asked = (Document) stages.get(0).get("$changeStream");
        Changes changes = new Changes();
        changes.database = Boolean.TRUE.equals(asked.get("allChangesForCluster")) ? null : database;
        changes.collection = query.get("aggregate") instanceof String name ? name : null;
        changes.lookup = "updateLookup".equals(asked.get("fullDocument"));
        changes.postImage = "required".equals(asked.get("fullDocument"));
        changes.stages = Aggregation.fromPipeline(
            stages.subList(1, stages.size()), this::resolveDatabase, resolveDatabase(database), null, oplog);
        Document after = (Document) asked.getOrDefault("startAfter", asked.get("resumeAfter"));
        // as in a mongod, the token of now is that of before the next tick, not that of the last change
        changes.token = after == null ? token(now() + 1, false) : (String) after.get("_data");
        if (changes.token.compareTo(lost) < 0) {
            throw new MongoServerError(HISTORY_LOST, "ChangeStreamHistoryLost",
                "Resume of change stream was not possible, as the resume point may no longer be in the oplog.");
        }
        long id = cursors++;
        open.put(id, changes);
        Document cursor = (Document) query.getOrDefault("cursor", new Document());
        return batch(channel, id, "firstBatch", after == null ? 0 : (Integer) cursor.getOrDefault("batchSize", 101));
    }

    private Document batch(Channel channel, long id, String name, int size) {
        Changes changes = open.get(id);
        Stream<Document> events = entries()
            .filter(entry -> token(entry).compareTo(changes.token) > 0)
            .map(entry -> event(channel, changes, entry))
            .filter(event -> changes.database == null || changes.database.equals(namespace(event).get("db")))
            .filter(event -> changes.collection == null || changes.collection.equals(namespace(event).get("coll")));
        List<Document> batch = changes.stages.runStagesAsStream(events).limit(size).collect(Collectors.toList());
        if (!batch.isEmpty()) {
            changes.token = (String) ((Document) batch.get(batch.size() - 1).get("_id")).get("_data");
        }
        if (batch.size() < size) { // all was looked at
            String high = token(now(), false);
            changes.token = high.compareTo(changes.token) > 0 ? high : changes.token;
        }
        Document cursor = new Document("id", id)
            .append("ns", (changes.database == null ? "admin" : changes.database) + ".$cmd.aggregate")
            .append(name, batch)
            .append("postBatchResumeToken", new Document("_data", changes.token));
        return new Document("cursor", cursor).append("ok", 1.0);
    }

    private Document event(Channel channel, Changes changes, Document entry) {
        Document change = (Document) entry.get("o");
        String[] place = ((String) entry.get("ns")).split("\\.", 2);
        Document event = new Document("_id", new Document("_data", token(entry))).append("clusterTime", entry.get("ts"));
        switch ((String) entry.get("op")) {
            case "i":
                event.append("operationType", "insert").append("documentKey", new Document("_id", change.get("_id")))
                    .append("fullDocument", change);
                break;
            case "d":
                event.append("operationType", "delete").append("documentKey", new Document("_id", change.get("_id")));
                break;
            case "u":
                boolean replaced = change.keySet().stream().noneMatch(key -> key.startsWith("$"));
                Document key = (Document) entry.get("o2");
                event.append("operationType", replaced ? "replace" : "update").append("documentKey", key);
                if (changes.postImage) {
                    throw new MongoServerError(NO_POST_IMAGE, "NoMatchingDocument", "Change stream was configured to "
                        + "require a post-image for all update events, but the post-image was not found for event");
                }
                if (replaced) {
                    event.append("fullDocument", change);
                } else if (changes.lookup) {
                    Document find = new Document("find", place[1]).append("filter", key);
                    Document found = (Document) super.handleCommand(channel, place[0], "find", find).get("cursor");
                    List<?> documents = (List<?>) found.get("firstBatch");
                    event.append("fullDocument", documents.isEmpty() ? null : documents.get(0));
                }
                break;
            default:
                event.append("operationType", "drop");
                place[1] = (String) change.getOrDefault("drop", place[1]);
        }
        return event.append("ns", new Document("db", place[0]).append("coll", place[1]));
    }

    private static Document namespace(Document event) {
        return (Document) event.get("ns");
    }

    private Stream<Document> entries() {
        return resolveDatabase("local").resolveCollection(OPLOG_COLLECTION_NAME, true).queryAllAsStream();
    }

    /** The time of the last change. */
    private long now() {
        return entries().mapToLong(entry -> ((BsonTimestamp) entry.get("ts")).getValue()).max().orElse(1L << 32);
    }

    private static String token(Document entry) {
        return token(((BsonTimestamp) entry.get("ts")).getValue(), true);
    }

    /** A token: of a change, or of just before the changes of that time. */
    private static String token(long time, boolean ofChange) {
        return String.format("82%016X%s", time, ofChange ? "46" : "2B");
    }
}
