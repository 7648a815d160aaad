BEGIN TRANSACTION;
CREATE TABLE entries (
	ordinal INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	store_id TEXT NOT NULL, 
	file_id TEXT NOT NULL, 
	item_id TEXT, 
	folder TEXT, 
	status TEXT NOT NULL, 
	problem_code TEXT, 
	problem_en TEXT, 
	problem_zh TEXT, 
	attributes JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	UNIQUE (store_id, file_id), 
	UNIQUE (store_id, item_id), 
	FOREIGN KEY(store_id) REFERENCES stores (id) ON DELETE CASCADE, 
	FOREIGN KEY(file_id) REFERENCES files (id) ON DELETE CASCADE
);
INSERT INTO "entries" VALUES(1,'vs_6834b5228616c1df9d6e39ac','file-7babe2acf9afbf7223b5d1b0',NULL,NULL,'completed',NULL,NULL,NULL,'{"year": 2024, "good": true}',1795697378);
INSERT INTO "entries" VALUES(2,'vs_6834b5228616c1df9d6e39ac','file-fc5c6491cd0bfcd85cb39b06',NULL,NULL,'completed',NULL,NULL,NULL,'{"weight": 1.5}',1795697378);
INSERT INTO "entries" VALUES(3,'vs_6834b5228616c1df9d6e39ac','file-f7edd4c922b023674e45f223',NULL,NULL,'failed','unsupported_media','expected media, got a broken file','应为媒体文件，实际已损坏','{}',1795697378);
INSERT INTO "entries" VALUES(4,'vs_6834b5228616c1df9d6e39ac','file-bbc20d81fe988b6b80acb709',NULL,NULL,'completed',NULL,NULL,NULL,'{}',1795697378);
INSERT INTO "entries" VALUES(5,'vs_6834b5228616c1df9d6e39ac','file-f1aac7acbffde684a0494d6e','one',NULL,'completed',NULL,NULL,NULL,'{}',1795697378);
INSERT INTO "entries" VALUES(6,'vs_6834b5228616c1df9d6e39ac','file-09762e90cdc394bf81137fe2',NULL,NULL,'in_progress',NULL,NULL,NULL,'{}',1795697378);
CREATE TABLE files (
	ordinal INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	mode TEXT NOT NULL, 
	path TEXT, 
	sha256 TEXT, 
	bytes INTEGER NOT NULL, 
	mtime_ns INTEGER, 
	mime TEXT, 
	modality TEXT, 
	purpose TEXT NOT NULL, 
	kept BOOLEAN NOT NULL, 
	created_at INTEGER NOT NULL, 
	UNIQUE (id)
);
INSERT INTO "files" VALUES(1,'file-7babe2acf9afbf7223b5d1b0','apple.txt','copy',NULL,'5b81c594cd0fbf9d8fb47414ae14c9472a8e7efd87dfba11b5c1ac30391b6ae1',20,NULL,'text/plain','text','library',0,1795697377);
INSERT INTO "files" VALUES(2,'file-fc5c6491cd0bfcd85cb39b06','boat.mp4','copy',NULL,'57e9d8085188a3cc2ca8926214ad9b6269ff50c1ff2bb7f2b90fef5eaddcb9af',25,NULL,'video/mp4','video','library',0,1795697378);
INSERT INTO "files" VALUES(3,'file-f7edd4c922b023674e45f223','broken.bin','copy',NULL,'de6b9d5b9a7c9e99a9421d284164b52c8a53000380d39e9e52117f4c3da4caf9',3,NULL,NULL,NULL,'library',0,1795697378);
INSERT INTO "files" VALUES(4,'file-bbc20d81fe988b6b80acb709','note.txt','reference','/somewhere/note.txt','6e5386b290fbf78c2e1c4c46d2491b2ac07a5f866e0f81179e8cfcbcd0dbb7c4',29,1795697378082836972,'text/plain','text','library',0,1795697378);
INSERT INTO "files" VALUES(5,'file-f1aac7acbffde684a0494d6e','one','item',NULL,NULL,0,NULL,NULL,'text','item',0,1795697378);
INSERT INTO "files" VALUES(6,'file-0a6e645ad5345486c6209e47','upload.txt','copy',NULL,'8002f8d8614613698a75506fd85c893928878cbc32d8817512314c55624ca727',21,NULL,NULL,NULL,'user_data',1,1795697378);
INSERT INTO "files" VALUES(7,'file-09762e90cdc394bf81137fe2','waiting.txt','copy',NULL,'ca7b4c420f8e15bb807cc17dbe43d1781fe7e971b4b0aa8d34b79f25d7c582eb',22,NULL,NULL,NULL,'user_data',1,1795697378);
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema','2');
INSERT INTO "meta" VALUES('library','5e468ea24db225d0cbf9be66');
CREATE TABLE segments (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	store_id TEXT NOT NULL, 
	file_id TEXT NOT NULL, 
	modality TEXT NOT NULL, 
	ordinal INTEGER NOT NULL, 
	start FLOAT, 
	"end" FLOAT, 
	snippet TEXT, 
	revision TEXT NOT NULL, 
	vector BLOB NOT NULL, 
	FOREIGN KEY(store_id, file_id) REFERENCES entries (store_id, file_id) ON DELETE CASCADE
);
INSERT INTO "segments" VALUES(1,'vs_6834b5228616c1df9d6e39ac','file-7babe2acf9afbf7223b5d1b0','text',0,0.0,20.0,'red apple on a table','r1',X'89B5F826392EB73147B153305520A031D42E22AF83B3D6B297B12A337B30E7A8552E70A637B3A1B5753324B1AC2A88B15F2DD72D60B44C32D0319AB29AB1CEAA');
INSERT INTO "segments" VALUES(2,'vs_6834b5228616c1df9d6e39ac','file-fc5c6491cd0bfcd85cb39b06','video',0,0.0,6.0,NULL,'r1',X'83B5D6317628452F9AA680B27EAD4C2FB6AA7DAF1026B9AD9E3082334F358DB0C2B60D2676AAE12B14298528033062B2A4AC50B0F3B20D3368B672ADE82C4AAC');
INSERT INTO "segments" VALUES(3,'vs_6834b5228616c1df9d6e39ac','file-fc5c6491cd0bfcd85cb39b06','video',1,6.0,12.0,NULL,'r1',X'A2B2C53894B2D92E6AA80DB4351C72B4B2AE2D2CC3AF9B25ECB0F0A423AE142F0A287DA8AEB4B93142A69F33B6275E1F0130342C0CB15EA3941E1F309BAD95B4');
INSERT INTO "segments" VALUES(4,'vs_6834b5228616c1df9d6e39ac','file-bbc20d81fe988b6b80acb709','text',0,0.0,29.0,'a note that stays where it is','r1',X'D3AF7DB4082E27B0A72EEDB3732896B22921EE30C81B0EAFAD2B82B0521F41AE0E31FEB3CEB021AFC0B0DF2C1827C91D2D2A8EB1AB2A3BB9A73028318A31A9AC');
INSERT INTO "segments" VALUES(5,'vs_6834b5228616c1df9d6e39ac','file-f1aac7acbffde684a0494d6e','text',0,NULL,NULL,'an item','r1',X'55B1772980A2233565A583302620A59F52B0AB281035C5B0ECB23429222E522E482DB432792922B597363034ED2B8B24F1AE7434751E152EF0B3C532EB3149A8');
CREATE TABLE stores (
	ordinal INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	created_at INTEGER NOT NULL, 
	attributes JSON NOT NULL, 
	revision TEXT, 
	dimensions INTEGER, 
	sequence INTEGER NOT NULL, 
	UNIQUE (id)
);
INSERT INTO "stores" VALUES(1,'vs_6834b5228616c1df9d6e39ac','mine',1795697377,'{"for": "tests"}','r1',32,5);
INSERT INTO "stores" VALUES(2,'vs_1edb321fede0867c309023bb','empty',1795697377,'{}',NULL,NULL,0);
CREATE INDEX ix_stores_name ON stores (name);
CREATE INDEX ix_files_sha256 ON files (sha256);
CREATE INDEX ix_entries_file_id ON entries (file_id);
CREATE INDEX entries_by_folder ON entries (store_id, folder);
CREATE INDEX segments_by_file ON segments (store_id, file_id);
CREATE INDEX segments_by_modality ON segments (store_id, modality);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('stores',2);
INSERT INTO "sqlite_sequence" VALUES('files',7);
INSERT INTO "sqlite_sequence" VALUES('entries',6);
INSERT INTO "sqlite_sequence" VALUES('segments',5);
COMMIT;
