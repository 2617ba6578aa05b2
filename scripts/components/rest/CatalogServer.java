package org.apache.iceberg.rest;

import java.lang.reflect.Method;
import java.net.InetSocketAddress;
import org.eclipse.jetty.compression.gzip.GzipCompression;
import org.eclipse.jetty.compression.server.CompressionHandler;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;

/**
 * The Iceberg project's REST catalog server on one address. Its own main, RESTCatalogServer, serves the same catalog on every address of the machine.
 * Configured by the same variables; CATALOG_REST_HOST is the address, loopback by default.
 */
public final class CatalogServer {
  private CatalogServer() {}

  public static void main(String[] arguments) throws Exception {
    Method makeCatalog = RESTCatalogServer.class.getDeclaredMethod("initializeBackendCatalog");
    makeCatalog.setAccessible(true);
    RESTCatalogServer.CatalogContext catalog = (RESTCatalogServer.CatalogContext) makeCatalog.invoke(new RESTCatalogServer());
    String host = catalog.configuration().getOrDefault("rest.host", "127.0.0.1");
    int port = Integer.parseInt(catalog.configuration().getOrDefault(RESTCatalogServer.REST_PORT, "8181"));

    ServletContextHandler context = new ServletContextHandler(ServletContextHandler.NO_SESSIONS);
    context.addServlet(new ServletHolder(new RESTCatalogServlet(new RESTServerCatalogAdapter(catalog))), "/*");
    CompressionHandler compression = new CompressionHandler();
    compression.putCompression(new GzipCompression());
    context.insertHandler(compression);
    Server server = new Server(new InetSocketAddress(host, port));
    server.setHandler(context);
    server.start();
    server.join();
  }
}
