#!/bin/sh
# What MariaDB's own image does at its start, as far as it matters here: data that
# are there keep their passwords.
set -e
d=/var/lib/mysql
if [ ! -d $d/mysql ]; then
	s=/usr/share/mysql
	{
		printf "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
		cat $s/mysql_system_tables.sql $s/mysql_performance_tables.sql $s/mysql_system_tables_data.sql
		echo "DELETE FROM global_priv WHERE User='';"
		echo "FLUSH PRIVILEGES;"
		echo "CREATE DATABASE \`$MARIADB_DATABASE\`;"
		echo "CREATE USER '$MARIADB_USER'@'%' IDENTIFIED BY '$MARIADB_PASSWORD';"
		echo "GRANT ALL ON \`$MARIADB_DATABASE\`.* TO '$MARIADB_USER'@'%';"
		echo "ALTER USER 'root'@'localhost' IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';"
		echo "CREATE USER 'root'@'%' IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';"
		echo "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"
	} | mariadbd --no-defaults --bootstrap --datadir=$d --innodb-log-file-size=8M --loose-innodb-buffer-pool-size=16M
	printf '%s-MariaDB' "$SERVER_VERSION" >$d/mysql_upgrade_info
fi
exec mariadbd --no-defaults --datadir=$d --bind-address=0.0.0.0 --socket=/run/mysqld/mysqld.sock --innodb-log-file-size=8M --innodb-buffer-pool-size=16M
